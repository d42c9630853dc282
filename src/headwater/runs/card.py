"""What the cards of a run's export say: how its model came to be, what was measured, what it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from headwater.core.files import digest_json, read_json_or_none, write_json
from headwater.core.records import amount
from headwater.export.hf_card import CardFacts
from headwater.machine.device.settings import FORMATS
from headwater.runfile.paths import Folders, RunFolder
from headwater.runfile.run_config import RunConfig, config_of_run
from headwater.runs.measures import number_formats, scores_of
from headwater.runs.run_data import read_run
from headwater.runs.text import data_card_of_run
from headwater.train.checkpoint.layout import DERIVED, checkpoint_of
from headwater.train.checkpoint.origins import KEPT, Origin, origins_of


def card_of_run(config: RunConfig, evaluation: dict[str, Any] | None, here: RunFolder) -> CardFacts:
    """Return what the model card of a run says, bits per byte by the text they are of."""
    facts: dict[str, str | int | float] = {"run": config.name}
    facts |= {name: FORMATS.get(dtype, dtype) for name, dtype in number_formats(read_run(config.run_dir, here)).items()}
    origins = origins_of(checkpoint_of(config.run_dir), here.json, here.state)
    return CardFacts(origins, facts, scores_of(evaluation or {}), _changes(config.run_dir))


def _changes(run_dir: Path) -> list[tuple[str, str, str]]:
    """Return (words, before, after) of what alignment changed."""
    if not (run_dir / DERIVED).exists():
        return []
    from headwater.downstream import preference, rl  # whose model no alignment made loads neither

    of_pairs = {f"pairs whose preferred answer {words}": name for name, words in preference.MEASURES.items()}
    of_prompts = {"mean reward of sampled answers": "mean", "prompts with a right answer among several": "passed"}
    found = []
    for file, measures in {rl.RESULT: of_prompts, preference.RESULT: of_pairs}.items():
        kept = read_json_or_none(run_dir / file)
        for words, name in measures.items():
            before, after = (_estimated(kept, when, name) for when in ("before", "after"))
            if before and after:
                found.append((words, before, after))
    return found


def _estimated(kept: Any, *path: str) -> str:
    value, low, high, num = (amount(kept, *path, name) for name in ("value", "low", "high", "num"))
    return "" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f}) over {num:,.0f}"


def keep_alignment(base: Path, run_dir: Path, done: Origin, items: Sequence[Any], held_out: Sequence[Any]) -> None:
    """Keep, in the folder of a run that is aligned, what its cards say: the models before it, and what it learns from.

    `items` are the prompts or pairs, `held_out` those that measure it; `done` says how they are learned from.
    """
    name = run_dir.resolve().name
    origins = [*origins_of(checkpoint_of(base)), replace(done, name=name, num_examples=len(items))]
    write_json(run_dir / KEPT, {"origins": [asdict(each) for each in origins]})
    if (card := data_card_of_run(config_of_run(base))) is not None:
        what = {"by": done.kind, "reward": done.detail, "num_examples": len(items), "num_held_out": len(held_out)}
        aligned = [*card.get("aligned_on", []), what | {"digest": digest_json([asdict(each) for each in items])}]
        write_json(Folders(run_dir).data_card, card | {"name": name, "aligned_on": aligned})
