"""Write a run file that trains a model that exists on a person's own text: how, by how far that is from its own."""

from __future__ import annotations

from pathlib import Path

from headwater.cli.new import Sizes, check_new, source_name, source_table, tokens_to_train_on, write_sized
from headwater.cli.text_found import find_text, settings_of
from headwater.core.config import Table
from headwater.export.base.facts import BaseFacts, facts_of
from headwater.model.optim.settings import ScheduleSettings, decay_start, lr_factor
from headwater.runfile.paths import Say
from headwater.train.checkpoint.layout import checkpoint_dir, step_of

# times the bits per byte of the base's own held-out text: from there rates are warmed up again, or more is replayed
REWARMED_FROM, REPLAYED_MORE_FROM = 1.2, 1.5
REPLAY_NEAR, REPLAY_FAR = 0.05, 0.25  # shares of the tokens
LEAST_RATE = 0.1  # of the peak: where the base's rate ended lower
MAX_SEQ_LEN, ROWS = 512, 8  # of a base that was trained elsewhere


def write_run_file_from_base(path: Path, name: str, base_path: str, texts: list[str], minutes: float, say: Say) -> Path:
    """Write `path`, a run file that trains the model at `base_path` on `texts`; raise before writing."""
    from headwater.export.base.tokenizer import tokenizer_of
    from headwater.runs.library.shift import config_of_base, corpus_like, measure_shift, run_of  # torch

    check_new(path, name, texts, minutes)
    base = facts_of(base_path)
    config, run = config_of_base(base), run_of(base)
    like = settings_of(texts, None if config is None else config.corpus, source_name(name))
    found, sample = find_text(texts, like)
    say("measuring how far the text is from the base's")
    tokenizer = tokenizer_of(base)
    shift = measure_shift(base, tokenizer, sample, say)
    bytes_per_token = sum(len(part.encode()) for part in sample) / sum(
        len(ids) for ids in tokenizer.encode_many(sample)
    )
    num_tokens = tokens_to_train_on(found, bytes_per_token, like.validation_fraction)
    tables, why = _settings(base, run, shift.new, shift.ratio)
    if base.kind != "checkpoint" and base.model.seq_len > MAX_SEQ_LEN:
        tables["model"] = {"seq_len": MAX_SEQ_LEN}
        why.append(f"sequences have {MAX_SEQ_LEN} tokens, and the base's {base.model.seq_len}")
    corpus, train = corpus_like(config), Table()
    if config is not None:
        why.append(_carried(corpus, run))
        train |= {} if config.train.prompts is None else {"prompts": config.train.prompts}
    corpus |= source_table(name, texts, num_tokens)
    tables = {"init": {"from": base_path}} | tables | {"corpus": corpus, "train": train}
    write_sized(path, name, tables, why, _sizes(base), found, num_tokens, minutes, say)
    for line in _better_start(base, run):
        say(line)
    return path


def _settings(base: BaseFacts, run: Path | None, new: float, ratio: float | None) -> tuple[Table, list[str]]:
    """Return the tables of how to train, and why."""
    bits = f"the base needs {new:.3f} bits for a byte of this text"
    if ratio is None or run is None:
        return {}, [
            f"{bits}; its own text isn't here, so that nothing is replayed, and what it forgets isn't measured "
            "([replay] takes a run of headwater)"
        ]
    bits += f", {ratio:.2f} times those of its own held-out text"
    share = REPLAY_FAR if ratio >= REPLAYED_MORE_FROM else REPLAY_NEAR
    why = (
        f"{share:.0%} of the tokens are old text: {REPLAY_FAR:.0%} where new text takes {REPLAYED_MORE_FROM} times the "
        f"bits or more, else {REPLAY_NEAR:.0%} (arXiv:2403.08763)"
    )
    tables: Table = {"replay": {"run": str(run), "share": share}}
    factor = max(LEAST_RATE, _last_factor(base))
    if ratio >= REWARMED_FROM or factor == 1:
        return tables, [
            bits,
            why,
            f"the rates are warmed up to the base's peak again, as for text of {REWARMED_FROM} times the bits or more "
            "(arXiv:2403.08763)",
        ]
    optim = base.trained["optim"]
    tables["schedule"] = {"name": "cosine", "final_fraction": 0.01}
    tables["optim"] = {each: float(f"{factor * optim[each]:.4g}") for each in optim if each.endswith("_lr")}
    ended = f"the rates begin where the base's ended, at {LEAST_RATE} of its peak at least"
    how = f"{ended}, as for text below {REWARMED_FROM} times"
    return tables, [bits, why, f"{how} (arXiv:2407.07263)"]


def _carried(corpus: Table, run: Path | None) -> str:
    names = ", ".join(f"corpus.{name}" for name in corpus) or "nothing, as all of it is the default"
    old = "whose text isn't here any more" if run is None else "whose text [replay] reads again"
    return f"carried over from the base's run: {names}; not its sources and their weights, {old}"


def _last_factor(base: BaseFacts) -> float:
    """Return the factor of the peak rates in the base's last step."""
    num_steps, schedule = base.trained["train"]["num_steps"], ScheduleSettings(**base.trained["schedule"])
    return lr_factor(max(0, (step_of(base.weights) or num_steps) - 1), num_steps, schedule)


def _sizes(base: BaseFacts) -> Sizes:
    model, seq_len = base.model, base.model.seq_len
    batch_tokens = base.trained.get("train", {}).get("batch_tokens", ROWS * min(seq_len, MAX_SEQ_LEN))
    return Sizes(base.vocab_size, model.num_layers, model.d_model, seq_len, batch_tokens)


def _better_start(base: BaseFacts, run: Path | None) -> list[str]:
    """Return a line that offers the checkpoint from before the decay, where the base is a run that has it."""
    if run is None or not base.trained or base.trained["schedule"]["name"] != "wsd":
        return []
    step = decay_start(base.trained["train"]["num_steps"], ScheduleSettings(**base.trained["schedule"]))
    before = checkpoint_dir(run, step)
    if base.weights.name == before.name or not before.is_dir():
        return []
    return [f"from before its decay the base has more to gain (arXiv:2505.07796): --base {before}"]
