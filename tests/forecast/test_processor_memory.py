"""Memory of runs on a processor against what whole runs held at their peak."""

from __future__ import annotations

import math
import statistics

import pytest

from headwater.forecast import processor_memory as memory
from headwater.forecast.processor import constants
from headwater.forecast.processor_memory import Portion, memory_after_probe, run_memory
from headwater.intervals import Z_P90
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings

MIB = 2**20
OPTIM = OptimSettings(matrix_lr=0.02, embedding_lr=0.1, head_lr=0.01, vector_lr=0.01, weight_decay=0.1)


def model(num_layers=4, d_model=192, seq_len=256, vocab_size=6144) -> ModelSettings:
    sizes = {"num_layers": num_layers, "d_model": d_model, "seq_len": seq_len, "vocab_size": vocab_size}
    heads = {"num_heads": d_model // 64, "num_kv_heads": d_model // 64, "head_dim": 64}
    return ModelSettings(**sizes, **heads, d_ff=round(8 * d_model / 3 / 64) * 64, tied_embeddings=False)


# layers, width, vocabulary, tokens, dtype: store, held before the first step (None where by an older order of imports)
# and peak in MiB. Of 2026-11-28 as it was; of 2026-11-26 with 47 MiB of a library more that runs import since, and with
# the inputs that int8 keeps since (docs/log.md)
RUNS = {
    (4, 192, 6144, 4096, "int8"): (25.1, 454, 810),
    (4, 192, 8192, 8192, "bfloat16"): (2.3, 442, 1007),
    (6, 384, 6144, 4096, "int8"): (25.1, None, 1242),
    (2, 256, 6144, 4096, "int8"): (25.1, None, 744),
    (4, 192, 6144, 8192, "int8"): (25.1, None, 899),
    (4, 192, 6144, 4096, "bfloat16"): (25.1, None, 755),
}


def error_of(run, *, is_started: bool = False) -> float:
    layers, width, vocab_size, tokens, dtype = run
    store, held, peak = RUNS[run]
    shape = model(num_layers=layers, d_model=width, vocab_size=vocab_size)
    found = run_memory(shape, OPTIM, Portion(tokens), dtype, store * MIB, held * MIB if is_started else None)
    return math.log(found / MIB / peak)


def test_peaks_of_whole_runs_lie_in_their_bands():
    errors = {run: error_of(run) for run in RUNS}
    reach = Z_P90 * constants()["log_deviation"]["memory"]
    assert all(abs(error) < reach for error in errors.values()), errors
    assert statistics.median(map(abs, errors.values())) < 0.05, errors


def test_what_the_process_holds_before_its_first_step_comes_nearer():
    for run in (run for run in RUNS if RUNS[run][1]):
        assert abs(error_of(run, is_started=True)) < abs(error_of(run)) + 0.001, run


def test_larger_libraries_are_found_by_what_is_held():
    peaks = [run_memory(model(), OPTIM, Portion(4096), "int8", 0.0, held * MIB) for held in (500, 700)]
    assert peaks[1] - peaks[0] == pytest.approx(200 * MIB)


def test_the_chunk_of_logits_is_that_of_the_kernels():
    from headwater.machine.kernels import functions

    names = ("CACHED_LOGITS", "CHUNK_TOKENS", "LOGITS_CHUNK")
    assert [getattr(memory, name) for name in names] == [getattr(functions, name) for name in names]


def test_recomputed_blocks_take_less_and_never_nothing():
    peaks = [run_memory(model(), OPTIM, Portion(16384, num), "bfloat16", 0.0) for num in range(5)]
    assert peaks[0] > peaks[1] > peaks[2] > peaks[3]
    assert peaks[4] > run_memory(model(), OPTIM, Portion(1024, 4), "bfloat16", 0.0)


def test_exact_sums_take_eight_bytes_a_parameter():
    plain, exact = (run_memory(model(), OPTIM, Portion(4096, exact=exact), "float32", 0.0) for exact in (False, True))
    assert exact - plain == 8 * count_parameters(model()).total


def test_text_counts_after_a_probe_too():
    without, found = (memory_after_probe(700.0 * MIB, store * MIB) for store in (0, 100))
    assert found - without == pytest.approx(116 * MIB)
