"""GPUs: by a table that ships and that the user can replace, with their prices; what training takes there. No torch.

Time is a whole run's by the plainest rule, 6 FLOPs a parameter and token at 40 % of the bf16 peak: a model of the step
came no nearer to hours of published runs (docs/decisions/0038). headwater itself was never timed on a GPU.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from headwater.core.errors import ConfigError, DataError
from headwater.core.intervals import Z_P90
from headwater.core.tables import CsvRow, number, required, table
from headwater.machine.ranks.mesh import AXES, STATE_AXES, WEIGHT_AXES, Layout, Mesh
from headwater.plan.forecast.rank_memory import Division, division_of
from headwater.plan.forecast.result import DeviceGroup, Spread
from headwater.plan.forecast.work import StepWork

COLUMNS = ("name", "architecture", "bf16_TFLOPs", "memory_GB", "watts", "link_GBps", "network_GBps", "node_size")
WITHOUT_BF16 = frozenset({"volta", "turing"})  # by NVIDIA's white papers of these, whose rate is fp16's
USUAL_UTILISATION = 0.4
HOURS_BACKTEST = {"runs": 25, "median": 0.192, "p90": 0.38}
"How far hours of whole published runs lie from the rule (benchmarks/cost_backtest.py)."
HOURS_HOW = (
    f"6 FLOPs a parameter and token at 40 % of the bf16 peak: {HOURS_BACKTEST['runs']} published whole runs were "
    f"{HOURS_BACKTEST['median']:.0%} off in the median, {HOURS_BACKTEST['p90']:.0%} at P90; four of five lie in P10 to "
    "P90. headwater itself was never timed on such devices, and float8 is planned at the speed of bf16"
)
HOURS_DEVIATION, MEMORY_DEVIATION, POWER_DEVIATION = 0.2686, 0.0356, 0.0898
"Of the logarithm: P10 to P90 hold 80 % of the published ones; memory's was that of a model of clusters (decision 38)."


@dataclass(frozen=True)
class Accelerator:
    """One accelerator: the dense peak of 16-bit products in FLOP/s, bytes of memory, watts of its limit, bytes/s.

    `links` is what a device exchanges with all others of its node of `node_size` together, `network` its part of the
    node's network cards, one way. The power limit is also its mean power in training with its share of host and
    network, before cooling: nearer to published energies than 0.9 of it (benchmarks/cost_backtest.py). The price of an
    hour is on demand, so that devices can be compared; the range seen is taken to hold four of five. None if unknown.
    """

    name: str
    architecture: str
    bf16_flops: float
    memory_bytes: float
    watts: float
    links: float
    network: float
    node_size: int
    usd_per_hour: Spread | None
    price_how: str

    def group(self, num_devices: int, pue: float = 1.0) -> DeviceGroup:
        """Return what these devices cost, draw and hold."""
        return DeviceGroup(
            device=self.name,
            hours_how=HOURS_HOW,
            watts=Spread(self.watts, POWER_DEVIATION),
            power_how=f"{self.name} at its limit of {self.watts:g} W",
            price_how=self.price_how,
            memory_limit=self.memory_bytes,
            usd_per_hour=self.usd_per_hour,
            num_devices=num_devices,
            hours_backtest=HOURS_BACKTEST,
            pue=pue,
        )

    def seconds_per_token(self, params: float, num_devices: int = 1, recomputed: float = 0.0) -> float:
        """Return a whole run's time for a token by the rule, with what is recomputed; exchanges come on top."""
        return (6 + 2 * recomputed) * params / (USUAL_UTILISATION * self.bf16_flops * num_devices)


def read_devices(path: Path | None = None) -> dict[str, Accelerator]:
    """Return devices by every name they go by, in lower case without punctuation; raise DataError for a wrong cell."""
    devices: dict[str, Accelerator] = {}
    for place, row in table("hardware.csv", path, COLUMNS):
        where = f"{place}, {row['name'] or 'a row without name'}"
        cells = {name: required(row, name, where=where) for name in COLUMNS[2:]}
        price, price_how = _price(row, where)
        if cells["node_size"] % 1:
            raise DataError(f"{where}: node_size={cells['node_size']:g} must be a whole number")
        device = Accelerator(
            name=row["name"],
            architecture=row["architecture"],
            bf16_flops=cells["bf16_TFLOPs"] * 1e12,
            memory_bytes=cells["memory_GB"] * 1e9,
            watts=cells["watts"],
            links=cells["link_GBps"] * 1e9,
            network=cells["network_GBps"] * 1e9,
            node_size=int(cells["node_size"]),
            usd_per_hour=price,
            price_how=price_how,
        )
        names = [device.name, *(row.get("aliases") or "").split(";")]
        devices |= {_key(name): device for name in names if name.strip()}
    return devices


def _price(row: CsvRow, where: str) -> tuple[Spread | None, str]:
    usd, low, high = (number(row, name, where=where) for name in ("usd_per_hour", "usd_low", "usd_high"))
    if usd is None:
        return None, (
            f"no price of {row['name']} is in the hardware table: give price_per_hour in a costs file (--costs)"
        )
    low, high = sorted((low or usd, high or usd))
    seen = "" if low == high else f"; {low:g} to {high:g} seen"
    how = f"on-demand price of {row.get('price_source') or 'unknown date and source'}{seen}"
    return Spread(usd, math.log(high / low) / (2 * Z_P90)), how


def find_device(name: str, devices: dict[str, Accelerator]) -> Accelerator:
    """Return the device of that name; raise ConfigError with the names there are."""
    device = devices.get(_key(name))
    if device is None:
        names = sorted({device.name for device in devices.values()})
        raise ConfigError(f"no device {name!r} in the hardware table, which has {', '.join(names)}")
    return device


def device_of_driver(name: str, devices: dict[str, Accelerator]) -> Accelerator | None:
    """Return the device that a driver calls so, such as NVIDIA A100-SXM4-40GB; None where it isn't in the table.

    Less memory in the name than in the table is true of this device; more is its host's (GH200 480GB).
    """
    words = [_key(word) for word in re.split(r"[^A-Za-z0-9]+", name)]
    phrases = {"".join(words[first:last]) for first, last in combinations(range(len(words) + 1), 2)}
    known = phrases & devices.keys()  # whole words: an RTX A1000 is no A100
    if not known:
        return None
    alias = max(known, key=len)
    device, gib = devices[alias], re.search(r"(\d+) ?GB", name)
    return device if gib is None else replace(device, memory_bytes=min(device.memory_bytes, int(gib[1]) * 2.0**30))


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


WIRE_UTILISATION = 0.8
"Of the data sheet's bandwidth; as it was fitted on published layouts."


@dataclass(frozen=True)
class AxisExchange:
    """Exchanges of one kind along one axis: the bytes of all their whole tensors.

    `axis` is that of the mesh, several with " × " between them, or "all ranks". Whole are an all-gather's result and a
    reduce-scatter's input; an all-reduce, a broadcast and an all-to-all have one size.
    """

    kind: str
    axis: str
    num_bytes: int


def exchanges(work: StepWork) -> list[AxisExchange]:
    """Return a step's exchanges of the first rank, but for the few numbers that all ranks add up.

    Copies of the weights add their gradients once a step and give one another the updated weights. Weights that are
    divided are gathered for each pass, those outside of the blocks once, and their gradients added once a microbatch;
    of small models, and in a pipeline, once a step.
    Muon's matrices go to owners among all ranks that have boxes of them. What layers exchange is `_add_layers_`.
    """
    mesh, of_rank = work.mesh, division_of(work.model, work.optim.name, work.mesh)
    axis, shards, found = _named(mesh, WEIGHT_AXES), mesh.size(*WEIGHT_AXES), Counter[tuple[str, str]]()
    if shards > 1:
        vectors = 4 - work.sent_bytes  # of which a value is sent in fp32
        block = work.sent_bytes * of_rank.block + vectors * of_rank.block_vectors
        outside = 4 * of_rank.outside
        if work.model.family != "gpt2":  # whose embeddings are used in fp32
            outside = work.sent_bytes * of_rank.outside + vectors * of_rank.outside_vectors
        times, passes = (1, 1) if mesh.gathers_once(4 * of_rank.total) else (work.num_microbatches, 2)
        found["all-gather", axis] += times * (passes * of_rank.layers * block + outside)
        found["reduce-scatter", axis] += times * 4 * of_rank.total
    if mesh.size(*STATE_AXES) > 1 and work.optim.name == "muon":
        swapped = of_rank.look_ahead + of_rank.own_directions
        found["all-to-all", _named(mesh, STATE_AXES)] += round(work.value_bytes * swapped)
    if mesh.replicate > 1:
        for kind in ("all-reduce", "broadcast"):
            found[kind, "replicate"] += 4 * of_rank.total // shards
    _add_layers_(found, work, of_rank)
    return [AxisExchange(*key, num_bytes) for key, num_bytes in found.items()]


def _add_layers_(found: Counter[tuple[str, str]], work: StepWork, of_rank: Division) -> None:
    """Add what layers exchange that ranks compute together.

    Along `tensor` each of attention and MLP gathers its input and scatters its sum, forward, and the other way round
    backward; what is recomputed does so again, but for the last sum, which nothing needs. So do the loss and, in fp32,
    the embedding. Along `context` attention swaps queries, keys, values and its output, forward and backward.
    """
    model, mesh, times, layers = work.model, work.mesh, work.num_microbatches, of_rank.layers
    again = of_rank.num_recomputed(work.recompute)
    if mesh.tensor > 1:
        stream = work.layer_tokens * model.d_model
        ends = (4 + work.value_bytes * of_rank.is_last) * stream
        for kind, num_again in (("all-gather", 2), ("reduce-scatter", 1)):
            of_blocks = work.value_bytes * stream * (4 * layers + num_again * again)
            found[kind, "tensor"] += times * (ends + of_blocks)
        scores = 3 * 4 * work.layer_tokens * of_rank.is_last  # the largest, a sum and the target's
        vectors = 4 * (layers * of_rank.block_vectors + of_rank.outside_vectors) // mesh.size(*WEIGHT_AXES)
        found["all-reduce", "tensor"] += times * scores + vectors
    if mesh.context > 1:
        heads = 2 * (model.num_heads // mesh.tensor + max(model.num_kv_heads // mesh.tensor, mesh.context))
        swapped = work.value_bytes * work.layer_tokens * heads * model.head_dim
        found["all-to-all", "context"] += times * swapped * (2 * layers + again)
    if mesh.pipeline > 1:  # the first rank's stages send hidden states, and all but the first one their gradients
        handed = work.value_bytes * work.layer_tokens * model.d_model // mesh.tensor
        for kind in ("send", "receive"):
            found[kind, "pipeline"] += times * (2 * mesh.stages_per_rank - 1) * handed


def _named(mesh: Mesh, axes: Iterable[str]) -> str:
    """Return the name of those of some axes that have several ranks."""
    several = [axis for axis in axes if mesh.size(axis) > 1]
    return "all ranks" if len(several) > 1 and mesh.size(*several) == mesh.world_size else " × ".join(several)


def exchange_seconds(device: Accelerator, exchange: AxisExchange, layout: Layout) -> float:
    """Return what a ring takes for one step's exchanges: (n - 1) / n of the bytes pass each device, of sums twice.

    Over several machines a ring passes through the network cards of all its ranks in a machine together.
    """
    axes, mesh = AXES if exchange.axis == "all ranks" else exchange.axis.split(" × "), layout.mesh
    num_ranks, inner = mesh.size(*axes), mesh.size(*AXES[AXES.index(axes[-1]) + 1 :])
    in_node = max(1, min(layout.num_local, device.node_size) // inner)
    bandwidth = device.links if num_ranks <= in_node else min(device.links, device.network * in_node)
    if exchange.kind in ("send", "receive"):  # between two neighbours, both ways at once
        return exchange.num_bytes / 2 / (WIRE_UTILISATION * bandwidth)
    passes = 2 if exchange.kind == "all-reduce" else 1
    return passes * exchange.num_bytes * (num_ranks - 1) / num_ranks / (WIRE_UTILISATION * bandwidth)
