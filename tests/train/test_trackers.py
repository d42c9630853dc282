"""Curves in other programs equal the records that count, also after resumes and rollbacks; none can stop a run."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import quick, write_run_file, write_texts

from headwater.core.errors import ConfigError
from headwater.core.records import RunRecords, read_records
from headwater.runfile.run_config import load_run
from headwater.runs.running import run
from headwater.train import trackers
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import read_tensors
from headwater.train.trackers import find_trackers, send_records, tracking, values_of

Curves = dict[str, list[tuple[int, float]]]


class Listed:
    """A tracker that keeps what it gets; `fails_in` is where it raises."""

    def __init__(self, name: str, folder: Path, fails_in: str = "") -> None:
        self.name, self.points, self.is_finished, self._fails_in = name, [], False, fails_in
        begun.append(self)

    def _fail_in(self, method: str) -> None:
        if method == self._fails_in:
            raise SystemExit("no")  # what a library raises may be no Exception

    def start(self, config: Mapping[str, Any]) -> None:
        self._fail_in("start")
        self.config = config

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._fail_in("log")
        self.points.append((step, dict(values)))

    def finish(self) -> None:
        self._fail_in("finish")
        self.is_finished = True


begun: list[Listed] = []


@pytest.fixture
def listed(monkeypatch) -> list[Listed]:
    begun.clear()
    monkeypatch.setitem(trackers.BUILT_IN, "listed", ("json", Listed))
    return begun


def append_steps(records: RunRecords, display: Any, first: int, last: int) -> None:
    for step in range(first, last + 1):
        display(records.append("step", step, loss=records.attempt + 1 / step, lr=0.1, mfu=None, tokens_seen=64 * step))
        if step % 4 == 0:
            display(records.append("checkpoint", step, seconds=0.1))
            display(records.append("validation", step, bits_per_byte={"all": 2 / step + records.attempt}))
            display(records.append("probes", step, probes={"sums": {"right": 0.5}}))


def write_records(run_dir: Path, names: list[str], **more: Any) -> list[str]:
    """Write a run that is killed at step 7, resumes from step 4, and goes back from 10 to 8; return what was said."""
    said: list[str] = []
    times = itertools.count(1.7e9)
    for start, last in ((0, 7), (4, 12)):
        records = RunRecords(run_dir / "records.jsonl", lambda: next(times))
        with tracking(names, run_dir, {"seed": 1}, said.append, seconds=None, **more) as display:
            if start:
                display(records.append("resume", start, rows_consumed=start))
            display(records.append("start", start, rows_consumed=start))
            append_steps(records, display, start + 1, 10 if start else last)
            if start:
                display(records.append("rollback", 8, rows_consumed=10, first_row=8))
                append_steps(records, display, 9, last)
                display(records.append("finish", last))
        records.close()
    return said


def curves_of_records(run_dir: Path) -> Curves:
    found: Curves = {}
    for record in read_records(run_dir / "records.jsonl"):
        for name, value in values_of(record).items():
            found.setdefault(name, []).append((record["step"], value))
    return found


def test_numbers_have_names_by_what_they_measure():
    step = {"event": "step", "attempt": 1, "step": 3, "loss": 2.5, "mfu": None, "time": 1.0}
    assert values_of(step) == {"train/loss": 2.5}
    validation = {"event": "validation", "attempt": 1, "step": 3, "loss": {"all": 3}, "dtype": "float32", "time": 1.0}
    assert values_of(validation) == {"validation/loss/all": 3.0}
    assert values_of({"event": "probes", "step": 3, "probes": {"sums": {"right": 1}}}) == {"probes/sums/right": 1.0}
    assert values_of({"event": "checkpoint", "step": 3, "seconds": 1.0}) == {}


def test_a_resume_and_a_rollback_begin_a_run_with_all_that_counts(tmp_path, listed):
    shown: list[dict[str, Any]] = []
    assert write_records(tmp_path / "mine", ["listed"], display=shown.append) == []
    assert [each.name for each in listed] == ["mine", "mine-2", "mine-3"]
    assert all(each.is_finished and each.config == {"seed": 1} for each in listed)
    curves: Curves = {}
    for step, values in listed[-1].points:
        for name, value in values.items():
            curves.setdefault(name, []).append((step, value))
    assert curves == curves_of_records(tmp_path / "mine")
    assert [step for step, _ in curves["train/loss"]] == list(range(1, 13))
    assert [record["event"] for record in shown if record["event"] != "step"].count("rollback") == 1


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_a_tracker_that_raises_is_given_up_with_one_line_and_the_others_go_on(tmp_path, listed, monkeypatch, method):
    monkeypatch.setitem(trackers.BUILT_IN, "bad", ("json", lambda name, folder: Listed(name, folder, method)))
    said = write_records(tmp_path / "mine", ["bad", "listed"])
    assert said == ["bad gets no more records: SystemExit: no"] * len(said) and 1 <= len(said) <= 2, "one an attempt"
    assert [step for step, values in listed[-1].points if "train/loss" in values] == list(range(1, 13))


@pytest.fixture
def release(listed, monkeypatch) -> threading.Event:
    """What the tracker `hanging` waits for before it takes anything."""
    release = threading.Event()

    class Hanging(Listed):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            release.wait()

    monkeypatch.setitem(trackers.BUILT_IN, "hanging", ("json", Hanging))
    return release


@pytest.mark.parametrize(
    ("max_waiting", "num_steps", "words"),
    [
        (trackers.MAX_WAITING, 4, "trackers are behind; `headwater report RUN --tracker hanging` sends all records"),
        (8, 40, "trackers are 8 records behind and get no more; `headwater report "),
    ],
)
def test_a_tracker_that_hangs_holds_up_nothing_and_is_given_up_with_one_line(
    tmp_path, release, monkeypatch, max_waiting, num_steps, words
):
    monkeypatch.setattr(trackers, "MAX_WAITING", max_waiting)
    records, said = RunRecords(tmp_path / "records.jsonl", lambda: 1.0), []
    with tracking(["hanging"], tmp_path, {}, said.append, seconds=0.01) as display:
        display(records.append("start", 0))
        append_steps(records, display, 1, num_steps)
    release.set()
    records.close()
    assert len(said) == 1 and said[0].startswith(words.replace("RUN", str(tmp_path)))


def test_a_plug_in_is_found_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "their_tracker.py").write_text(
        "class Theirs:\n    def __init__(self, name, folder):\n        self.name = name\n"
    )
    info = tmp_path / "their_tracker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tracker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headwater.trackers]\ntheirs = their_tracker:Theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_trackers(["theirs"])["theirs"]("mine", tmp_path).name == "mine"
    with pytest.raises(ConfigError, match=r"there is no tracker 'thiers'; those installed are tensorboard, .*theirs"):
        find_trackers(["thiers"])


def test_a_tracker_whose_package_is_missing_is_named_before_a_run_begins(monkeypatch):
    monkeypatch.setitem(trackers.BUILT_IN, "absent", ("no_such_package", Listed))
    with pytest.raises(ConfigError, match="absent isn't installed: pip install absent"):
        find_trackers(["absent"])


def scalars_of_tensorboard(run_dir: Path) -> Curves:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = loader.EventAccumulator(str(run_dir / "trackers" / "tensorboard"), size_guidance={loader.SCALARS: 0})
    found.Reload()
    return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in found.Tags()["scalars"]}


def scalars_of_wandb(run_dir: Path) -> Curves:
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    rows: dict[str, list[dict[str, float]]] = {}
    for file in (run_dir / "trackers" / "wandb").glob("offline-run-*/*.wandb"):
        records, ends = [], time.monotonic() + 20  # a process of wandb's own writes it, and may still do so
        while not any(each.HasField("exit") for each in records) and time.monotonic() < ends:
            records = [protocol.Record.FromString(data) for data in leveldb_records(file.read_bytes())]
            time.sleep(0.1)
        name = next(each.run.display_name for each in records if each.HasField("run"))
        kept = [each.history.item for each in records if each.HasField("history")]
        rows[name] = [{each.key or "/".join(each.nested_key): float(each.value_json) for each in row} for row in kept]
    assert sorted(rows) == [run_dir.name, f"{run_dir.name}-2", f"{run_dir.name}-3"]
    return _by_name(rows[f"{run_dir.name}-3"], "_step")


def leveldb_records(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """Yield the records of LevelDB's log, in which wandb keeps an offline run: checksum, length, kind, bytes."""
    at, parts = 7, b""  # behind wandb's own header
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if at + 7 + length > len(data):  # it isn't all written yet
            return
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def _by_name(rows: list[dict[str, Any]], step: str) -> Curves:
    found: Curves = {}
    for row in rows:
        for name, value in row.items():
            if "/" in name:
                found.setdefault(name, []).append((int(row[step]), float(value)))
    return found


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
@pytest.mark.filterwarnings("default")  # those of their libraries are not ours
def test_curves_read_back_equal_the_records(tmp_path, monkeypatch, capsys, name):
    pytest.importorskip(name, reason=f"needs {name}")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    said = write_records(tmp_path / "mine", [name])
    assert said == [] and capsys.readouterr().out == ""
    found, expected = globals()[f"scalars_of_{name}"](tmp_path / "mine"), curves_of_records(tmp_path / "mine")
    assert found.keys() == expected.keys()
    for curve, points in expected.items():
        assert [step for step, _ in found[curve]] == [step for step, _ in points], curve
        assert np.allclose([value for _, value in found[curve]], [value for _, value in points], rtol=1e-6), curve


def test_records_of_a_run_are_sent_afterwards(tmp_path, listed):
    write_records(tmp_path / "mine", [])
    assert listed == []
    send_records(["listed"], tmp_path / "mine", {}, lambda line: None)
    assert [step for step, values in listed[-1].points if "train/loss" in values] == list(range(1, 13))
    assert listed[-1].is_finished


def test_a_run_with_trackers_has_the_bits_of_one_without(tmp_path, listed):
    write_texts(tmp_path / "texts", num_files=12)
    weights = []
    for name, asked in (("without", []), ("with", ["listed"])):
        path = write_run_file(
            tmp_path / f"{name}.toml", train__num_steps=6, train__save_every=6, schedule__warmup_steps=0
        )
        with chdir(tmp_path), quick():
            config, reasons = load_run(str(path), [f"train.trackers={asked}".replace("'", '"')])
            assert run(config, reasons, say=lambda line: None).status == "finished"
        weights.append(read_tensors(checkpoint_dir(tmp_path / config.run_dir, 6), MODEL))
    while not (listed and listed[-1].is_finished):  # a run ends without trackers that need longer
        time.sleep(0.05)
    assert all((value == weights[1][key]).all() for key, value in weights[0].items())
    assert {step: values["train/loss"] for step, values in listed[-1].points if "train/loss" in values} == {
        record["step"]: record["loss"] for record in read_records(tmp_path / config.run_dir / "records.jsonl", "step")
    }
