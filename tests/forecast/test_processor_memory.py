"""Memory on a processor against what was measured: every row of docs/performance.md that has a peak.

Its constants come from older rows (bfloat16, tied embeddings, docs/log.md); the tables of today have seen none of them.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.forecast import processor_memory as memory
from headwater.forecast.processor import constants
from headwater.forecast.processor_memory import Portion, processor_memory
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.scaling.arrays import Z_P90

TABLES = Path(__file__).parents[2] / "docs/performance.md"
MIB = 2**20
OPTIM = OptimSettings(matrix_lr=0.02, embedding_lr=0.1, head_lr=0.01, vector_lr=0.01, weight_decay=0.1)
BY_TITLE = {
    "Tokens a step": "tokens",
    "Layers": "num_layers",
    "Width": "d_model",
    "Sequence, 8,192 tokens a step": "seq_len",
    "Sequence, one row a step": "seq_len",
    "Vocabulary": "vocab_size",
}


def model(**changed) -> ModelSettings:
    sizes = {"num_layers": 4, "d_model": 256, "seq_len": 512, "vocab_size": 8192, "tied_embeddings": True} | changed
    heads = changed.get("num_heads", sizes["d_model"] // 64)
    rest = {"num_heads": heads, "num_kv_heads": heads, "head_dim": sizes["d_model"] // heads}
    return ModelSettings(**sizes | rest, d_ff=round(8 * sizes["d_model"] / 3 / 64) * 64)


def measured() -> Iterator[tuple[str, int, float]]:
    """Yield the title, the size and the peak in MiB of every row of the tables that have a peak."""
    title, column = "", None
    for line in TABLES.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            title, column = line[4:], None
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "peak MiB" in cells:
            column = cells.index("peak MiB")
        elif column is not None and line.startswith("|") and cells[0][0].isdigit():
            yield title, int(cells[0].replace(",", "")), float(cells[column].replace(",", ""))


def grown_mib(shape: ModelSettings, tokens: int) -> float:
    """Return what int8 keeps of inputs since it keeps them in bfloat16; the tables are from before.

    Counted 11, 33 and 21 where 16, 24 and 21 were measured: 4 × 192, 6 × 384, 4 × 192 with 8,192 tokens (docs/log.md,
    2026-11-28).
    """
    a_token = 2 * shape.d_model + shape.d_ff - shape.num_heads * shape.head_dim - 16
    return shape.num_layers * tokens * a_token / MIB


def error_of(title: str, size: int, peak_mib: float) -> float:
    changed = {BY_TITLE[title]: size}
    tokens = changed.pop("tokens", 4096)
    if title.startswith("Sequence"):
        tokens = size if "one row" in title else 8192
    shape = model(**changed, tied_embeddings=False)
    found = processor_memory(shape, OPTIM, Portion(tokens, validates=False), "int8")
    return found.peak / MIB / (peak_mib + grown_mib(shape, tokens)) - 1


def test_peaks_of_the_measured_tables_are_forecast():
    errors = {(title, size): error_of(title, size, peak) for title, size, peak in measured()}
    assert len(errors) == 37
    median = statistics.median(map(abs, errors.values()))
    least = min(errors, key=lambda key: errors[key])
    assert median <= 0.05, f"median {median:.1%}"
    assert errors[least] >= -0.03, f"{least} is {errors[least]:.1%} under"


# layers, heads, width, sequence, vocabulary, tokens, microbatches: peak MiB in int8 and bfloat16 (docs/log.md)
THROUGHPUT = {
    (6, 6, 384, 512, 8192, 4096, 1): (1039, 1057),
    (4, 4, 192, 256, 8192, 4096, 1): (598, 608),
    (12, 12, 768, 1024, 32768, 2048, 1): (2837, 2865),
    (12, 12, 768, 1024, 32768, 2048, 4): (3322, 3414),
}


@pytest.mark.parametrize("row", THROUGHPUT, ids=str)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_peaks_of_whole_trainings_are_forecast(row, dtype):
    layers, heads, width, seq_len, vocab_size, tokens, _ = row
    shape = model(
        num_layers=layers, num_heads=heads, d_model=width, seq_len=seq_len, vocab_size=vocab_size, tied_embeddings=False
    )
    found = processor_memory(shape, OPTIM, Portion(tokens, validates=False), dtype).peak / MIB
    peak = THROUGHPUT[row][dtype == "bfloat16"] + (grown_mib(shape, tokens) if dtype == "int8" else 0)
    assert -0.1 <= found / peak - 1 <= 0.2, f"{found:.0f} MiB where {peak} were measured"


def test_the_chunk_of_logits_is_that_of_the_kernels():
    from headwater.machine.kernels import functions

    names = ("CACHED_LOGITS", "CHUNK_TOKENS", "LOGITS_CHUNK")
    assert [getattr(memory, name) for name in names] == [getattr(functions, name) for name in names]


def test_muons_stack_is_that_of_the_optimizer():
    from headwater.optim import owners

    assert memory.STACKED_NUMBERS == owners.STACKED_NUMBERS


def test_attentions_scratch_is_that_of_the_kernel():
    from headwater.machine.kernels import functions

    header = (Path(functions.__file__).parent / "attention_backward.h").read_text(encoding="utf-8")
    counts = f"{memory.PACKED_OPERANDS} * Scratch::bytes_for<Packed>(operand_size()) + {memory.FP32_SUMS} * Scratch"
    assert counts in header


def test_recomputed_blocks_take_less_and_never_nothing():
    peaks = [processor_memory(model(), OPTIM, Portion(16384, num), "bfloat16").peak for num in range(5)]
    assert peaks[0] > peaks[1] > peaks[2] > peaks[3]
    assert peaks[4] > processor_memory(model(), OPTIM, Portion(1024, 4), "bfloat16").peak


# layers, width, sequence, tokens, dtype: MiB held before the first step and at the peak of whole runs of first-light with
# four probes (docs/log.md); PROBE_BYTES and the gradients' holes were chosen with these in sight
WHOLE_RUNS = {
    (4, 192, 256, 4096, "int8"): (458, 710),
    (6, 384, 512, 4096, "int8"): (553, 1162),
    (2, 256, 256, 4096, "int8"): (467, 689),
    (4, 192, 256, 8192, "int8"): (459, 830),
    (4, 192, 256, 4096, "bfloat16"): (460, 708),
}


LEFT_OVER_MIB = 16
"Of those held: what was freed and not given back, 404 of libraries where 388 stay."


@pytest.mark.parametrize("run", WHOLE_RUNS, ids=str)
def test_peaks_of_whole_runs_are_forecast(run):
    layers, width, seq_len, tokens, dtype = run
    shape = model(num_layers=layers, d_model=width, seq_len=seq_len, vocab_size=6144, tied_embeddings=False)
    around = memory.around_run(token_bytes=26_347_156, num_probes=4, has_almanac=True)
    found = processor_memory(shape, OPTIM, Portion(tokens), dtype, around=around)
    held, peak = WHOLE_RUNS[run]
    peak += grown_mib(shape, tokens) if dtype == "int8" else 0
    # measured before a run imported what plans its saves, and with freed memory counted as held
    since = memory.PLANNER_BYTES / MIB
    before, forecast = found.peak / MIB - since, found.peak_from((held + since - LEFT_OVER_MIB) * MIB) / MIB - since
    assert -0.03 <= forecast / peak - 1 <= 0.05, f"{forecast:.0f} MiB where {peak} were measured"
    assert -0.03 <= before / peak - 1 <= 0.05, f"{before:.0f} MiB before the run where {peak} were measured"


def test_what_is_around_a_run_is_counted_once():
    around = memory.around_run(token_bytes=100 * MIB, num_probes=9, has_almanac=True)
    alone = processor_memory(model(), OPTIM, Portion(4096), "int8")
    whole = processor_memory(model(), OPTIM, Portion(4096), "int8", around=around)
    assert whole.peak - alone.peak == pytest.approx(around.libraries + around.text + around.probes + whole.gradients)
    assert around.text == pytest.approx(116 * MIB)
    assert memory.around_run(0, num_probes=0, has_almanac=True).probes == 0


def test_what_a_run_holds_more_before_its_first_step_it_holds_to_the_end():
    around = memory.around_run(token_bytes=100 * MIB, num_probes=9, has_almanac=True)
    found = processor_memory(model(), OPTIM, Portion(4096), "int8", around=around)
    usual = found.libraries + around.libraries + around.text + found.weights + found.optimizer
    assert found.peak_from(usual) == pytest.approx(found.peak)
    assert found.peak_from(usual + 200 * MIB) - found.peak == pytest.approx(200 * MIB)
    assert found.peak_from(usual - 84 * MIB) == found.peak, "what isn't there yet comes later"


def test_a_saves_copy_counts_where_a_step_gives_back_less_than_it_takes():
    around = memory.around_run(0, num_probes=0, has_almanac=False)
    for tokens, is_counted in ((8192, False), (64, True)):
        found = processor_memory(model(d_model=1024), OPTIM, Portion(tokens), "int8", around=around)
        state, given_back = found.weights + found.optimizer, found.of_a_step
        assert found.beyond_a_step == pytest.approx(max(0, state - given_back))
        assert (found.beyond_a_step > 0) == is_counted
        assert found.beside_the_loop == pytest.approx(around.total + found.gradients + found.beyond_a_step)


def test_exact_sums_take_eight_bytes_a_parameter():
    plain, exact = (processor_memory(model(), OPTIM, Portion(4096, exact=exact), "float32") for exact in (False, True))
    assert exact.peak - plain.peak == pytest.approx(2 * plain.weights)


# layers, width, sequence, dtype, looks: MiB of whole runs that a processor with AMX made since, of 512 ids (docs/log.md)
LATER_RUNS = {
    (1, 64, 64, "bfloat16", 0): (430, 518),
    (1, 64, 64, "bfloat16", 4): (435, 503),
    (4, 192, 256, "bfloat16", 0): (449, 652),
    (4, 192, 256, "int8", 4): (430, 636),
}


@pytest.mark.parametrize("run", LATER_RUNS, ids=str)
def test_peaks_of_later_runs_lie_in_their_band(run):
    """A tiny run's peak is that of measuring the machine, which no step of its own reaches."""
    layers, width, seq_len, dtype, probes = run
    shape = model(num_layers=layers, d_model=width, seq_len=seq_len, vocab_size=512, tied_embeddings=False)
    around = memory.around_run(token_bytes=2.4e6, num_probes=probes, has_almanac=False)
    portion = Portion(1024 if width == 64 else 4096, num_threads=1)
    found = processor_memory(shape, OPTIM, portion, dtype, around=around)
    held, peak = LATER_RUNS[run]
    reach = math.exp(Z_P90 * constants()["log_deviation"]["memory"])
    for forecast in (found.peak / MIB, found.peak_from(held * MIB) / MIB):
        assert 1 / reach <= forecast / peak <= reach, f"{forecast:.0f} MiB where {peak} were measured"


def test_the_libraries_of_a_run_are_what_importing_them_takes():
    """In a process of its own: what is imported eagerly some day must be counted, or else imported later."""
    said = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    held = float(said.stdout) / MIB
    libraries = (memory.LIBRARY_BYTES + memory.RUN_BYTES + memory.PLANNER_BYTES) / MIB
    assert 0.7 * libraries < held < libraries, f"{held:.0f} MiB imported, {libraries:.0f} with what steps bring in"


IMPORTS = """
import headwater.cli.running, headwater.runs.training
from headwater.machine.memory import resident_bytes
print(resident_bytes())
"""


def test_a_probes_peak_has_the_libraries_already():
    around = memory.around_run(token_bytes=100 * MIB, num_probes=9, has_almanac=True)
    found = processor_memory(model(), OPTIM, Portion(4096), "int8", around=around)
    assert found.peak_with(700 * MIB) == pytest.approx(700 * MIB + found.gradients + around.text + around.probes)
