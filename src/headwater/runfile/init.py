"""What a run starts from: the settings that its base decides, and the facts that the run keeps of it.

They are kept in RUN/data/base.json, so that a run with a checkpoint never needs its base again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import ConfigError
from headwater.core.files import read_json_or_none, read_manifest_or_none
from headwater.core.records import table
from headwater.runfile.given import Decided, Given, leaves
from headwater.runfile.paths import Folders, read_kept
from headwater.runfile.rules import ALMANAC, PAUSES, REPLAYED, by_rules
from headwater.train.checkpoint.layout import list_checkpoints

if TYPE_CHECKING:
    from headwater.export.base.facts import BaseFacts


def base_of(base: str | None, folders: Folders) -> BaseFacts | None:
    """Return the facts of a run's base: those that it keeps, once it has a checkpoint; None where it has no base.

    Raises ConfigError when the base isn't there or is damaged.
    """
    if base is None or list_checkpoints(folders.run):
        return kept_base(base, folders)
    return _facts_of(base)


def kept_base(base: str | None, folders: Folders) -> BaseFacts | None:
    """Return the facts of a run's base as its text was prepared with them; None where it has no base."""
    if base is None:
        return None
    from headwater.export.base.facts import BaseFacts

    kept = read_kept(folders.base, BaseFacts)
    return kept if kept is not None and kept.path == base else _facts_of(base)


def _facts_of(base: str) -> BaseFacts:
    from headwater.export.base.facts import facts_of  # readers of other people's models: few runs have any

    try:
        return facts_of(base)
    except ConfigError as error:
        raise ConfigError(f"init.from={error}") from None


def by_base(given: Given) -> Decided:
    """Return what the base of a run makes of the model's shape, the vocabulary, and of how it is trained.

    Raises ConfigError where the file sets another value than the base's; a shorter `seq_len` may be chosen.
    """
    folders = Folders(Path(given.get("runs_dir", "runs"), given.get("name")))
    base = base_of(given.get("init.from"), folders)
    assert base is not None
    of_model = Given({"model": base.model.model_dump(mode="json", exclude_none=True)})
    values = {setting: of_model.get(setting) for setting in leaves(dict(of_model.table))}
    values["tokenizer.vocab_size"] = base.vocab_size
    as_base = f"as in the base {base.path}"
    decided = {setting: (value, as_base) for setting, value in values.items() if not given.has(setting)}
    problems = [
        f"  {setting}: {given.get(setting)} is set, and the base has {value}"
        for setting, value in values.items()
        if setting not in decided
        and given.get(setting) != value
        and not (setting == "model.seq_len" and given.get(setting) < value)
    ]
    has_positions = "model.max_positions" in values or given.has("model.max_positions")
    if given.get("model.seq_len", base.model.seq_len) != base.model.seq_len and not has_positions:
        decided["model.max_positions"] = base.model.num_positions, f"what the base {base.path} is made for"
    problems += [
        f"  {setting}: {given.get(setting)} is set, and the base has none"
        for setting in leaves({"model": given.get("model")} if given.get("model") else {})
        if setting not in values and given.get(setting) not in (None, "off")
    ]
    if problems:
        lines = "\n".join(problems)
        raise ConfigError(f"a run from {base.path} has its shape and its vocabulary; leave these out:\n{lines}")
    decided |= _train_as_base(given, base)
    if given.has("replay.run"):
        found = sources_replayed(folders, str(given.get("replay.run")))
        rules = {name: partial(rule, replayed=found) for name, rule in PAUSES.items()}
        decided |= by_rules(given.with_decided(decided), rules)
    return decided


def sources_replayed(folders: Folders, run: str) -> tuple[int, bool]:
    """Return how many sources of another run a run replays, and whether the almanac is among them.

    Its own tokens say it where they are made: the other run may be gone.
    """
    manifests = (read_manifest_or_none(each.tokens) for each in (folders, Folders(Path(run))))
    own, theirs = (table(manifest, "replayed") for manifest in manifests)
    if own:
        return len(table(own, "weights")), bool(own.get("synthetic"))
    sources = table(read_json_or_none(Path(run, "config.json")), "settings", "corpus", "sources")
    builtins = [table(sources, each).get("builtin") for each in sources]
    has_almanac = bool(theirs.get("synthetic")) or any(each in ALMANAC for each in builtins)
    return (len(sources) + len(table(theirs, "weights")), has_almanac) if sources else REPLAYED


def _train_as_base(given: Given, base: BaseFacts) -> Decided:
    """Return optimizer, rates and batch as a base of ours was trained, where the file names no other optimizer."""
    trained = Given({name: base.trained.get(name, {}) for name in ("optim", "train")})
    if not base.trained or given.get("optim.name", trained.get("optim.name")) != trained.get("optim.name"):
        return {}
    wanted = ["train.batch_tokens", *leaves({"optim": trained.get("optim")})]
    as_base = "as the base was trained"
    again = f"{as_base}; its peak rates are warmed up to again (arXiv:2403.08763)"
    chosen = {name: trained.get(name) for name in wanted if not given.has(name)}
    return {
        name: (value, again if name.endswith("_lr") else as_base) for name, value in chosen.items() if value is not None
    }
