"""Rungs whose times were taken under load are named and not used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.forecast.ladder import Rung
from headwater.runs.ladder_record import DoneRung, done_rung
from headwater.runs.planned_ladder import disturbed, ladder_probe
from headwater.runs.rung_times import NOT_MEASURED

SIZES = {"num_heads": 1, "num_kv_heads": 1, "head_dim": 16, "d_ff": 64}


def done(num_steps: int, seconds: float) -> DoneRung:
    rung = Rung(2, 16, **SIZES, num_steps=num_steps, params=1e4, tokens=4096, flops=1e9, seconds=seconds)
    return DoneRung(rung, {"all": 2.0}, seconds / num_steps, seconds, "float32", 1, "a processor", NOT_MEASURED)


@pytest.fixture(scope="module")
def workshop(prepare):
    return prepare()


def test_fields_that_older_ladders_have_are_ignored():
    rung = done(8, 60.0)
    value = {**vars(rung), "rung": vars(rung.rung), "around": vars(rung.around), "pace": 0.2, "ended_at": 1.0}
    assert done_rung(value) == rung


def test_times_of_rungs_under_load_are_excluded_and_named(workshop):
    config = workshop.config
    model = config.model
    own = {"num_layers": model.num_layers, "d_model": model.d_model}
    quiet = done(8, 60.0)
    quiet = replace(quiet, rung=replace(quiet.rung, **own), step_seconds=0.2)
    busy = replace(quiet, rung=replace(quiet.rung, num_steps=9), step_seconds=2.0, busy="others use 1.9 of the 2 CPUs")
    assert ladder_probe(config, [quiet, busy]).step_seconds == pytest.approx(0.2)
    assert ladder_probe(config, [busy]) is None
    assert ladder_probe(config, [replace(quiet, rung=replace(quiet.rung, d_model=2)), busy]) is None
    (one,), (all_of_them,) = disturbed([quiet, busy], ladder_probe(config, [quiet, busy])), disturbed([busy], None)
    assert busy.rung.name in one and "those of the others count" in one
    assert "this processor's rate" in all_of_them
    assert disturbed([quiet], None) == []
