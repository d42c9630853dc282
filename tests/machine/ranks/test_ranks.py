"""What ranks tell one another arrives whole, in order, and as the same bits everywhere."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from many_ranks import on_ranks

from headwater.core.errors import ConfigError, TrainingError
from headwater.machine.ranks import exchange as ranks_module
from headwater.machine.ranks import rendezvous
from headwater.machine.ranks.exchange import ALONE_TIMEOUT, STEP_TIMEOUT, ManyRanks, Ranks
from headwater.machine.ranks.mesh import Mesh, Place, gpu_of, named, place_of
from headwater.machine.ranks.rendezvous import Start, join_ranks

EXCHANGES = """
import headwater.machine.ranks.exchange as module
module.BUCKET_BYTES = 24  # several buckets

def own(rank):
    return [torch.full((3, 2), float(rank)), torch.full((2,), rank, dtype=torch.int64), torch.full((1,), float(rank))]

mine, tensors = own(ranks.rank), [own(10 * rank) for rank in range(ranks.world_size)]
ranks.sum_tensors_(mine)
held = [own(10 * rank) if rank == ranks.rank else own(-1) for rank in range(ranks.world_size)]
ranks.share_(held)
found = {
    "rank": ranks.rank,
    "sums": [tensor.flatten().tolist() for tensor in mine],
    "shared": all(torch.equal(a, b) for x, y in zip(held, tensors) for a, b in zip(x, y)),
    "gathered": ranks.gather({"rank": ranks.rank, "text": "é" * ranks.rank}),
    "first": ranks.from_first(["from", ranks.rank]),
}
ranks.wait()
print(json.dumps(found))
"""


def test_sums_shared_tensors_and_json_are_the_same_on_all_ranks(tmp_path):
    found = on_ranks(3, EXCHANGES, tmp_path)
    total = sum(range(3))
    assert [one["rank"] for one in found] == [0, 1, 2]
    for one in found:
        assert one["sums"] == [[total] * 6, [total] * 2, [total]]
        assert one["shared"]
        assert one["gathered"] == [{"rank": rank, "text": "é" * rank} for rank in range(3)]
        assert one["first"] == ["from", 0]


@pytest.mark.parametrize("mesh", [Mesh(shard=2), Mesh(replicate=2, shard=2)], ids=str)
def test_an_exchange_along_an_axis_waits_no_longer_than_a_step(tmp_path, mesh):
    """Also along one that has all ranks, whose default group waits for a day. Axes of one rank have no group."""
    program = f"""
import torch.distributed as dist
from headwater.machine.ranks.mesh import Mesh
ranks.leave(); ranks = join_ranks(place_of(os.environ), {mesh!r}, device="cpu", num_gpus=lambda: 8)
assert dist.get_backend() == "gloo", "of machine.device = cpu, whatever GPUs there are"
axes = [axis for axis in ("replicate", "shard") if ranks.mesh.size(axis) > 1]
groups = [dist.group.WORLD, *(ranks.along(axis)._group for axis in axes)]
members = dict(zip(axes, (sorted(dist.get_process_group_ranks(group)) for group in groups[1:])))
waits = [group._get_backend(torch.device("cpu")).options._timeout.total_seconds() for group in groups]
print(json.dumps([waits, members]))
"""
    for rank, (waits, members) in enumerate(on_ranks(mesh.world_size, program, tmp_path)):
        assert waits == [ALONE_TIMEOUT.total_seconds()] + [STEP_TIMEOUT.total_seconds()] * len(members)
        copy, share = divmod(rank, mesh.shard)
        expected = {
            "replicate": [mesh.shard * other + share for other in range(mesh.replicate)],
            "shard": [mesh.shard * copy + other for other in range(mesh.shard)],
        }
        assert members == {axis: ranks for axis, ranks in expected.items() if len(ranks) > 1}


def test_one_alone_gets_back_what_it_gives():
    ranks = Ranks()
    tensor = torch.tensor([1.5])
    assert ranks.sum_(tensor) is tensor
    assert (ranks.gather({"a": 1}), ranks.from_first(2), ranks.is_first) == ([{"a": 1}], 2, True)
    assert [Ranks(Place(rank, 4)).part_of_rows for rank in range(4)] == [(rank, 4) for rank in range(4)]


class CountingRanks(ManyRanks):
    """Two ranks that have the same, so that a sum is the double, and the sizes of what they exchange."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tensor.nbytes)
        return tensor.mul_(2)


def test_no_exchange_copies_more_than_a_bucket(monkeypatch):
    monkeypatch.setattr(ranks_module, "BUCKET_BYTES", 64)
    shapes = [((3,), torch.float32), ((2, 5), torch.float32), ((4,), torch.int64), ((3,), torch.float32)]
    shapes += [((40,), torch.float32), ((1,), torch.float32), ((5,), torch.int64)]
    tensors = [torch.arange(math.prod(shape)).reshape(shape).to(dtype) for shape, dtype in shapes]
    expected = [2 * tensor for tensor in tensors]
    ranks = CountingRanks()
    ranks.sum_tensors_(tensors)
    assert all(torch.equal(tensor, double) for tensor, double in zip(tensors, expected, strict=True))
    assert sorted(ranks.sizes) == [4, 32, 40, 64, 160], "three small ones together, one that is larger alone"


def test_ranks_are_named_as_one_of_them_sees_them():
    assert named([0], 1) == "this machine"
    assert named([1], 2) == "rank 1 of 2"
    assert named([0, 3], 4) == "ranks 0, 3 of 4"
    assert named([], 2) == "the exchange between 2 ranks"
    assert named(None, 2).startswith("one of 2 ranks, it isn't known which")


def test_the_place_is_that_of_torchruns_variables():
    said = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert place_of(said) == Place(3, 4, 1, 2)
    assert place_of(said | {"TORCHELASTIC_USE_AGENT_STORE": "True"}) == Place(3, 4, 1, 2, has_store=True)
    assert place_of({}) == place_of({"WORLD_SIZE": "1", "RANK": "0"}) == Place()


@given(st.integers(1, 16), st.sampled_from(["auto", "cuda"]), st.data())
def test_each_rank_of_a_machine_has_a_gpu_of_its_own_or_all_are_refused_in_words(local_world_size, wanted, data):
    """One that sees a single GPU among several ranks takes it for its own."""
    num_gpus = data.draw(st.integers(1, 16))
    places = [Place(rank, local_world_size, rank, local_world_size) for rank in range(local_world_size)]
    if 1 < num_gpus < local_world_size:
        for place in places:
            words = rf"{local_world_size} ranks of one machine see {num_gpus} GPUs.* start {num_gpus} a machine"
            with pytest.raises(ConfigError, match=words):
                gpu_of(place, wanted, lambda: num_gpus)
    else:
        found = [gpu_of(place, wanted, lambda: num_gpus) for place in places]
        assert found == ([0] * local_world_size if num_gpus == 1 else list(range(local_world_size)))


@given(st.integers(0, 7), st.integers(0, 8))
def test_the_processor_is_taken_if_it_is_wanted_or_there_is_no_gpu(local_rank, num_gpus):
    place = Place(local_rank, 8, local_rank, 8)
    assert gpu_of(place, "cpu", lambda: num_gpus) is gpu_of(place, "auto", lambda: 0) is None
    with pytest.raises(ConfigError, match=r"no GPU here; set machine\.device to auto or cpu"):
        gpu_of(place, "cuda", lambda: 0)


def test_ranks_that_would_share_one_gpu_are_refused_on_each_of_them(monkeypatch):
    store = dist.HashStore()
    monkeypatch.setattr("headwater.machine.ranks.rendezvous.rendezvous", lambda *given, **named: iter([(store,)]))

    def join(rank: int) -> None:
        place = Place(rank, 3, rank, 3, has_store=True)
        with pytest.raises(ConfigError, match="3 ranks of one machine see 1 GPU, and each needs its own"):
            join_ranks(place, silence_seconds=None, num_gpus=lambda: 1, id_of=lambda gpu: f"of rank {rank // 2}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(join, range(3)))


@pytest.mark.parametrize("said", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "x"}, {"WORLD_SIZE": "all"}])
def test_half_a_place_is_a_clear_error(said):
    with pytest.raises(ConfigError, match="torchrun"):
        place_of(said)


def test_a_rank_whose_others_end_while_it_joins_says_what_to_do(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("Gloo connectFullMesh failed")

    monkeypatch.setattr("headwater.machine.ranks.rendezvous.rendezvous", refuse)
    with pytest.raises(TrainingError, match=r"rank 1 can't join the other 1 of its run .*start all of them"):
        join_ranks(Place(rank=1, world_size=2, local_rank=1, local_world_size=2))


def meet(store: dist.Store, rank: int, world_size: int) -> str:
    start = Start(store, Place(rank, world_size))
    name = start.name()
    start.meet()
    return name


@pytest.mark.parametrize("late", [0, 2])
def test_each_start_has_a_name_of_its_own_though_the_store_remembers_the_ones_before(late):
    store, names = dist.HashStore(), []

    def start(rank: int) -> str:
        time.sleep(0.3 if rank == late else 0.0)
        return meet(store, rank, 3)

    for _ in range(4):
        with ThreadPoolExecutor(3) as pool:
            found = set(pool.map(start, range(3)))
        assert len(found) == 1
        names += found
    assert len(set(names)) == 4


def test_a_rank_that_never_comes_is_named_by_the_first_and_the_others_end_too(monkeypatch):
    """It may have come to an earlier start, of which the store still holds its name."""
    monkeypatch.setattr(rendezvous, "ARRIVAL_SECONDS", 0.3)
    monkeypatch.setattr(rendezvous, "MAX_PAUSE_SECONDS", 0.1)
    store = dist.HashStore()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda rank: meet(store, rank, 3), range(3)))
        first, second = (pool.submit(meet, store, rank, 3) for rank in (0, 1))
        with pytest.raises(TrainingError, match="rank 2 of 3 fell silent before all had joined"):
            first.result()
        with pytest.raises(TrainingError, match="rank 0 of 3 fell silent before all had joined"):
            second.result()
