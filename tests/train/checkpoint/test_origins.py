"""What a model was made of is said of every model, from the folder of its run alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_state import save_checkpoint, training_state

from headwater.train.checkpoint.layout import DERIVED, checkpoint_dir
from headwater.train.checkpoint.origins import Origin, may_answer, origins_before, origins_of

BASE = {"name": "others", "kind": "others", "detail": "mit", "answers": True}
SOURCES = {"chat": {"kind": "conversations"}, "more": {"kind": "conversations"}, "books": {"kind": "books"}}
COUNTS = {"splits": {"train": {"chat": {"num_documents": 30}, "more": {}, "books": {"num_documents": 500}}}}


def made(run_dir: Path, **files: object) -> Path:
    """Make a run of these files, its checkpoint trained on 4,096 tokens, and return that checkpoint."""
    for name, value in files.items():
        path = run_dir / name.replace("__", "/")
        path = path if path.name == DERIVED else path.with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    model, optim, state = training_state(7)
    save_checkpoint(run_dir, 7, model, optim, state | {"tokens_seen": 4096})
    return checkpoint_dir(run_dir, 7)


def config(start: str | None, sources: object = SOURCES) -> dict[str, object]:
    return {"settings": {"init": None if start is None else {"from": start}, "corpus": {"sources": sources}}}


OWN = {  # what a run's folder holds; the models before it, and what is said of its own besides the name
    "from scratch": ({"config": config(None)}, [], {"kind": "scratch", "tokens": 4096}),
    "from scratch with conversations": (
        {"config": config(None), "data__tokens__manifest": COUNTS},
        [],
        {"kind": "scratch", "tokens": 4096, "num_examples": 30},
    ),
    "tuned": (
        {"config": config("b"), "data__tokens__manifest": COUNTS, "data__base": {"origins": [BASE]}},
        [Origin(**BASE)],
        {"kind": "tuned", "tokens": 4096, "num_examples": 30},
    ),
    "of a base of before there were origins": (
        {"config": config("runs/b"), "data__base": {"path": "runs/b"}},
        [Origin("b", "unknown")],
        {"kind": "continued", "tokens": 4096},
    ),
    "of a base whose origins are damaged": (
        {"config": config("runs/b"), "data__base": {"origins": [{"name": 3}]}},
        [Origin("b", "unknown")],
        {"kind": "continued", "tokens": 4096},
    ),
    "aligned": (
        {
            "config": config(None),
            "data__origins": {"origins": [BASE, {"name": "mine", "kind": "rewards"}]},
            DERIVED: {},
        },
        [Origin(**BASE)],
        {"kind": "rewards"},
    ),
    "aligned by an older headwater": ({"config": config(None), DERIVED: {}}, [], {"kind": "unknown"}),
    "of damaged settings": ({"config": "{"}, [], {"kind": "scratch", "tokens": 4096}),
}


@pytest.mark.parametrize("case", OWN)
def test_a_model_names_all_that_it_was_made_of_itself_last(tmp_path, case):
    files, before, own = OWN[case]
    checkpoint = made(tmp_path / "mine", **files)
    assert origins_of(checkpoint) == (*before, Origin("mine", **own))
    start = "runs/b" if "base" in case else "others" if case == "tuned" else None
    if DERIVED not in files or "data__origins" in files:
        assert origins_before(tmp_path / "mine", start) == tuple(before)


@pytest.mark.parametrize(
    ("kinds", "answers"),
    [
        ((), True),
        ((Origin("a", "unknown"),), True),
        ((Origin("a", "others"),), False),
        ((Origin("a", "others", answers=True), Origin("b", "continued")), True),
        ((Origin("a", "scratch", 9),), False),
        ((Origin("a", "scratch", 9, 1),), True),
        ((Origin("a", "others"), Origin("b", "tuned", 9, 1)), True),
        ((Origin("a", "others"), Origin("b", "tuned", 9, 0)), False),
        ((Origin("a", "continued", 9, 5), Origin("b", "rewards", num_examples=5)), False),
    ],
)
def test_a_model_may_answer_where_one_of_them_learned_from_conversations(kinds, answers):
    assert may_answer(kinds) is answers
