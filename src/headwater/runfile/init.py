"""What a run starts from: the settings that its base decides, and the facts that the run keeps of it.

They are kept in RUN/data/base.json, so that a run with a checkpoint never needs its base again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.config import RawSettings, leaves
from headwater.core.errors import ConfigError
from headwater.core.files import read_json_or_none, read_manifest_or_none
from headwater.core.records import table
from headwater.runfile.paths import Folders, read_kept
from headwater.runfile.rules import ALMANAC, PAUSES, REPLAYED, apply_rules_
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


def apply_base_(raw: RawSettings) -> dict[str, str]:
    """Set the shape of the model and the vocabulary of a run that has a base; return {setting: why}.

    Raises ConfigError where the file sets another value than the base's; a shorter `seq_len` may be chosen.
    """
    folders = Folders(Path(raw.get("runs_dir", "runs"), raw.get("name")))
    base = base_of(raw.get("init.from"), folders)
    assert base is not None
    of_model = RawSettings({"model": base.model.model_dump(mode="json", exclude_none=True)}, {})
    values = {setting: of_model.get(setting) for setting in leaves(of_model.table)}
    values["tokenizer.vocab_size"] = base.vocab_size
    whys, problems = {}, []
    for setting, value in values.items():
        if not raw.has(setting):
            raw.set_(setting, value, "a rule")
            whys[setting] = f"as in the base {base.path}"
        elif raw.get(setting) != value and not (setting == "model.seq_len" and raw.get(setting) < value):
            problems.append(f"  {setting}: {raw.get(setting)} is set, and the base has {value}")
    if raw.get("model.seq_len") != base.model.seq_len and not raw.has("model.max_positions"):
        raw.set_("model.max_positions", base.model.num_positions, "a rule")
        whys["model.max_positions"] = values["model.max_positions"] = f"what the base {base.path} is made for"
    whys |= _train_as_base_(raw, base)
    others = {setting: raw.get(setting) for setting in leaves({"model": raw.get("model")}) if setting not in values}
    problems += [
        f"  {setting}: {value} is set, and the base has none"
        for setting, value in others.items()
        if value not in (None, "off")
    ]
    if problems:
        lines = "\n".join(problems)
        raise ConfigError(f"a run from {base.path} has its shape and its vocabulary; leave these out:\n{lines}")
    if raw.has("replay.run"):
        found = sources_replayed(folders, str(raw.get("replay.run")))
        whys |= apply_rules_(raw, {name: partial(rule, replayed=found) for name, rule in PAUSES.items()})
    return whys


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


def _train_as_base_(raw: RawSettings, base: BaseFacts) -> dict[str, str]:
    """Set optimizer, rates and batch as a base of ours was trained, where the file names no other optimizer."""
    trained = RawSettings({name: base.trained.get(name, {}) for name in ("optim", "train")}, {})
    if not base.trained or raw.get("optim.name", trained.get("optim.name")) != trained.get("optim.name"):
        return {}
    wanted = ["train.batch_tokens", *leaves({"optim": trained.get("optim")})]
    chosen = [name for name in wanted if not raw.has(name) and trained.get(name) is not None]
    for name in chosen:
        raw.set_(name, trained.get(name), "a rule")
    as_base = "as the base was trained"
    again = f"{as_base}; its peak rates are warmed up to again (arXiv:2403.08763)"
    return {name: again if name.endswith("_lr") else as_base for name in chosen}
