"""A step that raises on a document costs that document, until so many fail that the step is at fault."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.core.errors import DataError
from headwater.corpus.engine import worker_process
from headwater.corpus.load import dropped_sample
from headwater.corpus.tasks import worker_context

NUM_DOCUMENTS = 12
FRAGILE = """
from headwater.corpus.step import Verdict
from headwater.corpus.tasks import worker_context

make_steps = worker_context.make_steps

def fragile_step(candidate):
    if "an unlucky word" in candidate.document.text:
        raise ZeroDivisionError("in the middle")
    return Verdict(candidate)

worker_context.make_steps = lambda *given: [fragile_step, *make_steps(*given)]
"""


@pytest.fixture
def fragile(monkeypatch, tmp_path):
    """Put such a step before all others, in this process and in those of the pool."""
    monkeypatch.setattr(worker_context, "make_steps", worker_context.make_steps)
    exec(FRAGILE, {})
    program = f"{FRAGILE}\nfrom headwater.corpus.engine.worker import main\nmain()\n"
    (tmp_path / "fragile_worker.py").write_text(program)
    monkeypatch.setattr(worker_process, "_MODULE", "fragile_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


def require_one_drop_each(build, make_prose, tmp_path, failing, **engine):
    files = {
        f"{at}.txt": make_prose(90, at) + ("an unlucky word" if at in failing else "") for at in range(NUM_DOCUMENTS)
    }
    manifest = build(files, task_bytes=1000, engine=engine)
    sheet = manifest["sources"]["mine"]
    assert sheet["read"]["documents"] == NUM_DOCUMENTS
    assert sheet["kept"]["documents"] == NUM_DOCUMENTS - len(failing)
    assert sheet["dropped"].get("step_failed", {"documents": 0})["documents"] == len(failing)
    if failing:
        shown = json.dumps(dropped_sample(tmp_path / "corpus", "step_failed", None, 99))
        assert shown.count("step fragile: ZeroDivisionError: in the middle") == len(failing)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failing=st.sets(st.integers(0, NUM_DOCUMENTS - 1), max_size=9), workers=st.just(1))
@example(failing={0, 7}, workers=2)
def test_a_document_on_which_a_step_raises_costs_itself(build, make_prose, tmp_path, fragile, failing, workers):
    require_one_drop_each(build, make_prose, tmp_path, failing, workers=workers)


def test_more_than_the_settings_allow_end_the_build_and_a_higher_limit_goes_on(build, make_prose, tmp_path, fragile):
    failing = set(range(10))
    with pytest.raises(DataError, match=r"failed on 10 of 12 documents \(fragile:ZeroDivisionError 10\).*fraction=0.8"):
        require_one_drop_each(build, make_prose, tmp_path, failing, workers=1, max_failed_fraction=0.8)
    require_one_drop_each(build, make_prose, tmp_path, failing, workers=1, max_failed_fraction=0.9)
