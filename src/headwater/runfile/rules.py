"""Rules for settings that nobody gave (what may become of a document is in `corpus.sources.rules`). No torch.

A rule reads what is set so far and returns a value with a sentence that names its source. `headwater explain` shows the
sentence, and from MEASURED when and over which sizes it was measured here. Rules are tried in order; a later one may
use what an earlier one set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from headwater.model.optim.settings import block_rows_for, orthogonalisation_share
from headwater.runfile.given import Decided, Given
from headwater.train.settings import even_microbatch

Rule = Callable[[Given], tuple[Any, str]]

BATCH_EXPONENT = 0.383  # of a run's tokens: the exponent alone is from Power Lines (arXiv:2505.13738)
# the level isn't theirs: nanochat's 2^19 tokens at 10 billion, times 0.4, which meets the 4,096 that half a million
# tokens are measured with (docs/log.md, 2026-11-25, Time to quality)
BATCH_TOKENS, AT_RUN_TOKENS = 0.4 * 2**19, 1e10

MAX_HEAD_DIM = 128


# what is computed between steps, in tokens of training that take as long: records of first-light, 2026-11-25, and the
# probes, filled up to powers of two, of a later run; 60 of a run's own held-out text: 12,000 to 17,000, 2026-12-02
VALIDATED_TOKEN, PROBE_TOKENS, CLOZE_TOKENS = 0.376, 42_000, 16_000
NUM_PROBES, NUM_VALIDATIONS = 9, 12
MAX_PROBES_SHARE, MAX_PAUSES_SHARE = 0.15, 0.2  # of the time of the steps
ALMANAC = ("almanac", "capitals")  # of which a program knows the answers
REPLAYED = 6, True  # sources of a run that is replayed and isn't known, the almanac among them: as the demo has

HEAD_LR = 0.016  # at width 768
# the rates of matrices and embedding fall with the number of updates and rise with the tokens of each: 1 at LR_STEPS
# of LR_BATCH tokens. The first exponent is measured from 150 to 600 steps (docs/log.md, 2026-11-25,
# Learning rates by length); the second makes the matrices' rate meet nanochat's 0.02 at 21,000 steps of 2^19 tokens
LR_STEPS, LR_BATCH = 600, 4096
LR_STEPS_EXPONENT, LR_BATCH_EXPONENT = -0.4, 0.3
LR_FACTORS = (0.25, 3.0)  # from 150 to 600 steps is measured; down to 19,200 and up to 40 is carried on


def _d_ff(given: Given) -> tuple[Any, str]:
    width = given.get("model.d_model")
    if given.get("model.family") == "gpt2":
        return 4 * width, "4 × d_model, GPT-2 (Radford et al. 2019)"
    rounded = max(32, round(8 * width / 3 / 64) * 64)
    return rounded, "8/3 × d_model to a multiple of 64: three matrices cost what GPT-2's two do (arXiv:2002.05202)"


def _head_dim(given: Given) -> tuple[Any, str]:
    width, heads, groups = given.get("model.d_model"), given.get("model.num_heads"), given.get("model.num_kv_heads", 1)
    if heads is not None and width % (2 * heads) == 0:
        return width // heads, "d_model ÷ num_heads"
    sizes = [size for size in (128, 64, 48, 32, 16) if width % size == 0 and width // size % groups == 0]
    size = next((size for size in sizes if width // size >= 3), None)
    if size is not None:
        return size, "the widest usual head that divides d_model and leaves three heads or more"
    if width % 2 == 0 and width <= MAX_HEAD_DIM and groups == 1:
        return width, "d_model is too small for three usual heads: one head"
    if given.get("model.family") == "gpt2":  # whose heads fill d_model
        size = next((size for size in range(MAX_HEAD_DIM, 15, -2) if width % size == 0), 64)
        return size, f"the widest even head up to {MAX_HEAD_DIM} that divides d_model"
    return 64, "a usual head: none divides d_model, and heads needn't fill it"


def _num_heads(given: Given) -> tuple[Any, str]:
    groups = given.get("model.num_kv_heads", 1)
    heads = given.get("model.d_model") // given.get("model.head_dim") // groups * groups
    return max(groups, heads), "d_model ÷ head_dim" + (", a multiple of num_kv_heads" if groups > 1 else "")


def _num_kv_heads(given: Given) -> tuple[Any, str]:
    return given.get("model.num_heads"), "as many as query heads: grouping saves memory at generation, not in training"


def _d_model(given: Given) -> tuple[Any, str]:
    return 64 * given.get("model.num_layers"), "64 × num_layers, nanochat's one dial (github.com/karpathy/nanochat)"


def _tied_embeddings(given: Given) -> tuple[Any, str]:
    if given.get("model.family") == "gpt2":
        return True, "as GPT-2 (Radford et al. 2019)"
    why = "an embedding of its own gains 0.06 bits per byte over one that is also the head (docs/log.md, 2026-11-25)"
    return False, why


def _width_scale(given: Given) -> float:
    return (given.get("model.d_model") / 768) ** -0.5


def _length_scale(given: Given) -> float:
    steps, batch = given.get("train.num_steps"), given.get("train.batch_tokens")
    factor = (steps / LR_STEPS) ** LR_STEPS_EXPONENT * (batch / LR_BATCH) ** LR_BATCH_EXPONENT
    return min(max(float(factor), LR_FACTORS[0]), LR_FACTORS[1])


LENGTH_WHY = (
    f"(steps/{LR_STEPS})^{LR_STEPS_EXPONENT:g} × (batch/{LR_BATCH})^{LR_BATCH_EXPONENT:g}: fewer updates, larger ones "
    "(docs/log.md, 2026-11-25)"
)


BASE_LR_PART = 5  # of a peak: where Parmar et al. 2024 (arXiv:2407.07263) begin with other text
OF_BASE = f"how the base was trained isn't known: 1/{BASE_LR_PART} of the peak from scratch (arXiv:2407.07263)"


def _optim_name(given: Given) -> tuple[Any, str]:
    if not given.has("init.from"):
        return None, ""
    return "adamw", "public bases are trained by AdamW, and Muon gains nothing on those (arXiv:2502.16982, section 3.5)"


def _base_lr(given: Given) -> tuple[Any, str]:
    return given.get("optim.matrix_lr"), "one rate for all parameters of a base, as AdamW had"


def _matrix_lr(given: Given) -> tuple[Any, str]:
    if given.get("optim.name", "muon") == "adamw":
        scale = given.get("model.d_model") / 768
        if given.has("init.from"):
            return round(1e-3 / scale / BASE_LR_PART, 6), f"{OF_BASE}, 0.001 at width 768"
        return round(1e-3 / scale, 6), "0.001 at width 768, in inverse proportion to the width (muP, arXiv:2203.03466)"
    why = f"at every width, since Muon's update has the same scale (Jordan 2024): nanochat's 0.02 × {LENGTH_WHY}"
    return round(0.02 * _length_scale(given), 6), why


def _embedding_lr(given: Given) -> tuple[Any, str]:
    if given.has("init.from") and given.get("optim.name") == "adamw":
        return _base_lr(given)
    if given.get("model.tied_embeddings", True):
        why = "a tied embedding learns at the head's rate: 0.016 × (d_model/768)^-0.5"
        return round(HEAD_LR * _width_scale(given), 6), why
    why = f"0.075 × (d_model/768)^-0.5, a quarter of nanochat's, × {LENGTH_WHY}"
    return round(0.075 * _width_scale(given) * _length_scale(given), 6), why


def _head_lr(given: Given) -> tuple[Any, str]:
    if given.has("init.from") and given.get("optim.name") == "adamw":
        return _base_lr(given)
    why = "0.016 × (d_model/768)^-0.5, twice nanochat's (docs/log.md, 2026-11-25)"
    return round(HEAD_LR * _width_scale(given), 6), why


def _vector_lr(given: Given) -> tuple[Any, str]:
    if given.has("init.from") and given.get("optim.name") == "adamw":
        return _base_lr(given)
    return 0.04, "gains of the norms: at 0.04 they move far enough in a short run (docs/log.md, 2026-11-25)"


def _weight_decay(given: Given) -> tuple[Any, str]:
    return 0.1, "the usual 0.1, times the learning rate (arXiv:1711.05101)"


def _warmup_steps(given: Given) -> tuple[Any, str]:
    steps = given.get("train.num_steps")
    if given.has("init.from"):
        return max(1, steps // 100), "1 % of the run: its length hardly matters to a base (arXiv:2308.04014)"
    why = "2 % of the run, at most 200 steps: Muon and zero-initialised outputs need little"
    return min(200, max(1, steps // 50)), why


def _block_rows(given: Given) -> tuple[Any, str]:
    if given.get("optim.name", "muon") == "adamw":
        return None, ""
    batch = given.get("train.batch_tokens")
    sizes = given.get("model.d_model"), given.get("model.d_ff"), batch
    share = orthogonalisation_share(*sizes)
    why = (
        f"whole, they would take {share:.0%} of the matrices' own FLOPs at {batch:,} tokens a step; blocks cost "
        "a little quality a step and gain more in steps (docs/log.md, 2026-11-25)"
    )
    return block_rows_for(*sizes), why


def rows_of_batch(num_tokens: float, seq_len: int) -> int:
    """Return the rows of a batch for a run of so many tokens: a power of two, at least 8."""
    batch_tokens = BATCH_TOKENS * (num_tokens / AT_RUN_TOKENS) ** BATCH_EXPONENT
    return int(max(8, 2 ** round(math.log2(batch_tokens / seq_len))))


def _batch_tokens(given: Given) -> tuple[Any, str]:
    seq_len, steps = given.get("model.seq_len"), given.get("train.num_steps")
    # batch = BATCH_TOKENS × (steps × batch / AT_RUN_TOKENS)^BATCH_EXPONENT, solved for the batch
    power = BATCH_TOKENS * (steps / AT_RUN_TOKENS) ** BATCH_EXPONENT
    wanted = power ** (1 / (1 - BATCH_EXPONENT))
    rows = rows_of_batch(steps * wanted, seq_len)
    if isinstance(part := given.get("train.microbatch_tokens"), int):
        rows = math.ceil(rows * seq_len / part) * part // seq_len  # microbatches that are set divide it
    why = (
        f"a power of two of sequences, at least 8, near {wanted:,.0f} tokens: 0.4 × nanochat's batch at "
        f"{AT_RUN_TOKENS:.0e} tokens, times (tokens of the run)^{BATCH_EXPONENT}, the exponent of Power Lines "
        "(arXiv:2505.13738)"
    )
    return rows * seq_len, why


def _microbatch_tokens(given: Given) -> tuple[Any, str]:
    batch, seq_len = given.get("train.batch_tokens"), given.get("model.seq_len")
    if given.get("parallel.pipeline", 1) not in (1, "auto"):
        return "auto", "at the start of a run, when ranks are known: a pipeline wants several microbatches"
    rows = batch // seq_len
    why = "the largest even part of the batch up to 8192 tokens, for the caches of a CPU"
    return even_microbatch(rows * seq_len, seq_len), why


def _half_length_fraction(given: Given) -> tuple[Any, str]:
    if given.has("init.from"):
        return 0.0, "a base has learned from whole sequences already"
    if given.get("model.seq_len") % 2:
        return 0.0, "sequences of an odd length can't be cut in two"
    why = "sequences of half the length teach more at first (docs/log.md, 2026-11-25; as in arXiv:2310.00576)"
    return 0.5, why


def _save_every(given: Given) -> tuple[Any, str]:
    return max(1, given.get("train.num_steps") // 20), "twenty checkpoints a run, of which the newest are kept"


def pause_tokens(num_sources: int, rows: float, seq_len: int, has_almanac: bool) -> tuple[float, float]:
    """Return the tokens of training that take as long as a validation of `rows` of each source, and as a probe."""
    return VALIDATED_TOKEN * num_sources * rows * seq_len, PROBE_TOKENS if has_almanac else CLOZE_TOKENS


def _pauses(given: Given, replayed: tuple[int, bool]) -> tuple[float, float, int]:
    """Return the tokens of a validation, and of a probe with its validation; how often the base is measured so."""
    sources, (num_replayed, is_of_almanac) = given.get("corpus.sources", {"": {}}), replayed
    has_almanac = any(given.get(f"corpus.sources.{name}.builtin") in ALMANAC for name in sources)
    if given.has("replay.run"):
        sources, has_almanac = [*sources, *[""] * num_replayed], has_almanac or is_of_almanac
    rows, seq_len = given.get("train.validation_sequences", 12), given.get("model.seq_len")
    validation, probe = pause_tokens(len(sources), rows, seq_len, has_almanac)
    return validation, validation + probe, int(given.has("init.from"))


def _num_probes(given: Given, replayed: tuple[int, bool] = REPLAYED) -> tuple[Any, str]:
    _, probe, of_base = _pauses(given, replayed)
    most = int(MAX_PROBES_SHARE * given.get("train.num_steps") * given.get("train.batch_tokens") / probe) - of_base
    why = f"up to {NUM_PROBES}, in {MAX_PROBES_SHARE:.0%} of the training time with their validations; the last step's"
    return 1 if most < 3 else min(NUM_PROBES, most), f"{why} always"  # of two the first is after step 1


def _validate_every(given: Given, replayed: tuple[int, bool] = REPLAYED) -> tuple[Any, str]:
    steps, num_probes = given.get("train.num_steps"), given.get("train.num_probes")
    validation, probe, of_base = _pauses(given, replayed)
    left = MAX_PAUSES_SHARE * steps * given.get("train.batch_tokens") - (num_probes + of_base) * probe
    number = max(1, int(left / validation))
    why = f"about {NUM_VALIDATIONS} a run beside those at probes, in {MAX_PAUSES_SHARE:.0%} of the time with them"
    return max(1, steps // NUM_VALIDATIONS, -(-steps // number)), why


PAUSES = {"train.num_probes": _num_probes, "train.validate_every": _validate_every}  # the second by the first
RULES: dict[str, Rule] = {
    "model.d_model": _d_model,
    "model.tied_embeddings": _tied_embeddings,
    "model.d_ff": _d_ff,
    "model.head_dim": _head_dim,
    "model.num_heads": _num_heads,
    "model.num_kv_heads": _num_kv_heads,
    "train.batch_tokens": _batch_tokens,
    "optim.name": _optim_name,
    "optim.matrix_lr": _matrix_lr,
    "optim.embedding_lr": _embedding_lr,
    "optim.head_lr": _head_lr,
    "optim.vector_lr": _vector_lr,
    "optim.weight_decay": _weight_decay,
    "optim.block_rows": _block_rows,  # of the batch
    "train.microbatch_tokens": _microbatch_tokens,
    "schedule.warmup_steps": _warmup_steps,
    "train.half_length_fraction": _half_length_fraction,
    "train.save_every": _save_every,
    **PAUSES,
}


MEASURED = {
    "model.tied_embeddings": "2026-11: width 192, 150 steps of 4,096 tokens",
    "train.batch_tokens": "2026-11: width 192, 4,096 and 8,192 tokens, runs of 0.5 to 2 million tokens",
    "optim.matrix_lr": "2026-11: widths 128 to 512, 75 to 600 steps of 2,048 and 4,096 tokens",
    "optim.embedding_lr": "2026-11: widths 128 to 512, 75 to 600 steps of 2,048 and 4,096 tokens",
    "optim.head_lr": "2026-11: widths 128 to 512, 150 steps of 2,048 and 4,096 tokens",
    "optim.vector_lr": "2026-11: width 192, 150 and 600 steps of 4,096 tokens, gains of norms alone",
    "optim.weight_decay": "2026-11: width 192, 150 steps of 4,096 tokens, 0.1 against 0",
    "optim.block_rows": "2026-11: widths 192 and 384, 120 to 600 steps of 4,096 tokens",
    "train.microbatch_tokens": "2026-11: width 192 on two cores",
    "schedule.warmup_steps": "2026-11: width 192, 150 steps of 4,096 tokens, against none",
    "train.half_length_fraction": "2026-11: width 192, 150 and 600 steps of 4,096 tokens",
}
"When and over which sizes a rule was measured here; the other rules, and what is beyond, rest on their source."


def by_rules(given: Given, rules: Mapping[str, Rule] = RULES) -> Decided:
    """Return what rules make of the settings that nobody set; a later one may use what an earlier one made.

    A rule whose own inputs are missing or of the wrong kind makes nothing: validation then reports what is missing.
    """
    decided: Decided = {}
    for setting, rule in rules.items():
        if given.has(setting):
            continue
        try:
            value, why = rule(given)
        except (TypeError, ValueError, ArithmeticError):
            continue
        if value is not None:  # of an input that is missing, or the default is right
            decided[setting] = value, why
            given = given.with_value(setting, value, "a rule")
    return decided
