"""How a model came to be: whose weights came first, and what each run made of them. No torch.

A run keeps what it started from in RUN/data/base.json, and one that was aligned the whole in RUN/data/origins.json, so
that a card names them all when their folders are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from headwater.core.files import read_json_or_none
from headwater.core.records import amount, table
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.train.checkpoint.layout import DERIVED
from headwater.train.checkpoint.verify import read_state

KEPT = Path("data", "origins.json")


@dataclass(frozen=True)
class Origin:
    """One of the models that a model was made of, or that model itself.

    name          of its run, or of somebody else's model as its files were called
    kind          what was done: others made it; trained from scratch, on more text, tuned, aligned
    tokens        that it was trained on by that, padding included; None where nobody counted them here
    num_examples  conversations, prompts or pairs that it learned from
    detail        of others' models the licence and where it is said; of rewards their name
    answers       whether it is somebody else's that has a chat template
    """

    name: str
    kind: Literal["others", "scratch", "continued", "tuned", "rewards", "preferences", "unknown"]
    tokens: int | None = None
    num_examples: int = 0
    detail: str = ""
    answers: bool = False

    @property
    def is_tuned(self) -> bool:
        """Whether it learned from conversations here."""
        return self.kind in ("scratch", "tuned") and self.num_examples > 0


Origins = tuple[Origin, ...]


def may_answer(origins: Origins) -> bool:
    """Return whether one of these models answers messages, or may: of that of an older headwater nothing is known."""
    return not origins or any(each.is_tuned or each.answers or each.kind == "unknown" for each in origins)


def origins_of(
    checkpoint: Path,
    read: Callable[[Path], Any] = read_json_or_none,
    state_of: Callable[[Path], dict[str, Any]] = read_state,
) -> Origins:
    """Return all that the model of a run's checkpoint was made of, the first first, itself last.

    `read` and `state_of` return what a file and a checkpoint hold.
    """
    run_dir = checkpoint.resolve().parents[1]
    if (run_dir / KEPT).exists():
        return _kept(run_dir / KEPT, run_dir.name)
    if (run_dir / DERIVED).exists():  # aligned by an older headwater: its settings are those of the run before it
        return (Origin(run_dir.name, "unknown"),)
    settings = table(read(run_dir / "config.json"), "settings")
    start = table(settings, "init").get("from")
    before = origins_before(run_dir, None if start is None else str(start))
    num_conversations = _num_conversations(read(run_dir / "data" / "tokens" / "manifest.json"), settings)
    kind: Any = "scratch" if start is None else "tuned" if num_conversations else "continued"
    tokens = amount(state_of(checkpoint), "tokens_seen")
    own = Origin(run_dir.name, kind, None if tokens is None else int(tokens), num_conversations)
    return *before, own


def origins_before(run_dir: Path, base: str | None) -> Origins:
    """Return what the model of a run that begins from `base` was made of before it."""
    if (run_dir / KEPT).exists():
        return _kept(run_dir / KEPT, run_dir.name)[:-1]
    return () if base is None else _kept(run_dir / "data" / "base.json", Path(base).name)


def _kept(path: Path, name: str) -> Origins:
    """Return the origins in a file; of one written before there were any, a model of this name and no more."""
    try:
        found = TypeAdapter(Origins).validate_python(table(read_json_or_none(path)).get("origins", ()))
    except ValidationError:
        found = ()
    return found or (Origin(name, "unknown"),)


def _num_conversations(tokens: Any, settings: dict[str, Any]) -> int:
    train = table(tokens, "splits", "train")
    sources = table(settings, "corpus", "sources")
    names = [name for name in sources if table(sources, name).get("kind") == CONVERSATIONS]
    return int(sum(amount(train, name, "num_documents") or 0 for name in names))
