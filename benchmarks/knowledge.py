"""What can tuning add to a model's knowledge, and what can text? An experiment over several seeds, as one table.

    python benchmarks/knowledge.py runs/first-light [--work runs/knowledge] [--seeds 1 2 3] [--arms NAME …]

Conversations ask for the capitals of countries, half of which no conversation names. In the first arms a share of those
that are named is made up: nothing states their capitals but the conversations. In the other arms the base is trained
again, from its first step, with a source more: sentences, each a text, that state the capitals of the made-up countries
that no conversation names, in 32 phrasings or in one as often; then it is tuned on known countries alone. A seed
decides the made-up names, which countries are named, and the order of the text. Tuning is `headwater downstream sft`
but for TUNING and PHRASINGS, which trials on seed 0 with other questions chose, and the examination `headwater
downstream knowledge`. A call that was stopped resumes; WORK/results.json has every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from headwater.cli.sft import write_sft_file
from headwater.core.files import write_json, write_text
from headwater.core.intervals import Estimate, share
from headwater.corpus.samples.almanac.conversations import capital_conversations
from headwater.corpus.samples.almanac.facts import Country
from headwater.corpus.samples.almanac.frames import frames
from headwater.corpus.samples.almanac.questions import TRAINING_PHRASINGS, Split, filled, split_countries
from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle
from headwater.downstream.knowledge import Knowledge, examine
from headwater.downstream.prompts import chat_prompts
from headwater.evaluate.scorer import Scorer
from headwater.runfile.paths import read_kept, write_kept
from headwater.runfile.run_config import config_of_run, load_run
from headwater.runs.finish import open_evaluator
from headwater.runs.loading import checkpoint_of, load_model
from headwater.runs.running import Call, run
from headwater.train.checkpoint.verify import model_digest

MADE_UP = "made-up"
PHRASINGS = (*TRAINING_PHRASINGS, "What is {x_s} capital?")
"Of tuning. Without the last one questions with a possessive, which two of the three new phrasings have, are hard."
TUNING_REPLAY = 0.5
"Share of the loss, as `downstream sft` has it."
NUM_TEXTS = 20_000
TEXT_WEIGHT = 0.05
"Of these, beside a sum of 1: a country in them is named about as often as a known one in the almanac."


@dataclass(frozen=True)
class Arm:
    """What a model is tuned on, and what its base read besides: text in `num_phrasings`, or none."""

    name: str
    unknown_share: float = 0.0
    num_phrasings: int | None = None


ARMS = (
    Arm("tuned, 0 made up", 0.0),
    Arm("tuned, a quarter made up", 0.25),
    Arm("tuned, half made up", 0.5),
    Arm("tuned, all made up", 1.0),
    Arm("text in 32 phrasings, then tuned", num_phrasings=32),
    Arm("text in one phrasing, then tuned", num_phrasings=1),
)
COLUMNS: dict[str, Callable[[Knowledge], Estimate]] = {
    "in the asked form": lambda found: found.greedy["known, never named, new phrasings"].in_form,
    "known, named": lambda found: found.greedy["known, named in tuning"].right,
    "known, never named": lambda found: found.greedy["known, never named"].right,
    "the same, new phrasings": lambda found: found.greedy["known, never named, new phrasings"].right,
    "invented there": lambda found: found.greedy["known, never named, new phrasings"].invented,
    "made up, named": lambda found: found.greedy["unknown, named in tuning"].right,
    "made up, never named": lambda found: found.greedy["unknown, never named"].right,
    "known, as prose": lambda found: found.prose["known"],
    "made up, never named, as prose": lambda found: found.prose["unknown"],
}

TUNING = (
    "optim.head_lr=0.001",  # at the 0.003 of `downstream sft` fewer known facts are said greedily, and more at random
    "train.num_probes=0",  # the examination comes after training
    "train.validate_every=1000",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="a run that read the almanac, such as runs/first-light")
    parser.add_argument("--work", type=Path, default=Path("runs/knowledge"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    given = parser.parse_args()
    base = given.base.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    os.chdir(given.work)  # run files and runs lie here
    kept: dict[str, list[Knowledge]] = {}
    for seed in given.seeds:
        for arm in (each for each in ARMS if each.name in given.arms):
            kept.setdefault(arm.name, []).append(result_of(arm, seed, base))
            write_json(Path("results.json"), {name: list(map(asdict, found)) for name, found in kept.items()})
            print_table(kept)


def result_of(arm: Arm, seed: int, base: Path) -> Knowledge:
    """Return what a model knows after the arm's stages, which are run unless they were."""
    name = f"{arm.name.replace(',', '').replace(' ', '-')}-{seed}"
    known = read_kept(Path(f"{name}.json"), Knowledge)
    if known is not None:
        return known
    split = split_countries(seed)
    start = base if arm.num_phrasings is None else trained_on_text(f"{name}-text", arm.num_phrasings, seed, base)
    talks = Path(f"{name}-talks.jsonl")
    write_text(talks, "".join(f"{line}\n" for line in conversations(split, arm.unknown_share, seed)))
    file = write_sft_file(name, start, [str(talks)], TUNING_REPLAY, print)
    known = examined(train(file, [*TUNING, f"seed={seed}", f"replay.run={start}"]), seed, start)
    write_kept(Path(f"{name}.json"), known)
    return known


def conversations(split: Split, unknown_share: float, seed: int) -> Iterator[str]:
    """Yield lines of JSON that name as many countries as the split names known ones, a share of them made up."""
    num_unknown = round(unknown_share * len(split.known_tuned))
    named = split.known_tuned[num_unknown:] + split.unknown_tuned[:num_unknown]
    for messages in capital_conversations(replace(split, known_tuned=named), seed, PHRASINGS):
        yield json.dumps({"messages": [message._asdict() for message in messages]}, ensure_ascii=False)


def trained_on_text(name: str, num_phrasings: int, seed: int, base: Path) -> Path:
    """Return a run like the base whose corpus states what no conversation does."""
    text = Path(f"{name}.jsonl").resolve()
    texts = texts_about(split_countries(seed).unknown_held_out, num_phrasings, seed)
    write_text(text, "".join(json.dumps({"text": each}, ensure_ascii=False) + "\n" for each in texts))
    source = [f"corpus.sources.{MADE_UP}.kind=almanac", f'corpus.sources.{MADE_UP}.paths=["{text}"]']
    settings = [f"mixture.weights.{MADE_UP}={TEXT_WEIGHT}", "corpus.dedup={exact=false, near=false}", f"seed={seed}"]
    return train(base, [*source, *settings, f"name={name}", "runs_dir=runs", "train.num_probes=0"])


def texts_about(about: Sequence[Country], num_phrasings: int, seed: int) -> Iterator[str]:
    """Yield sentences of the almanac that state capitals, in `num_phrasings`, each fact equally often.

    In texts of several sentences half of the answers about made-up countries named the right city and went on as such a
    text does (docs/log.md, 2026-11-30).
    """
    rng = random.Random(f"texts {seed}")
    usable = [each for each in frames().forward + frames().reverse if "{adj}" not in each and "{region}" not in each]
    phrasings = ShuffledCycle(usable[:1] if num_phrasings == 1 else rng.sample(usable, num_phrasings), rng)
    cycle = ShuffledCycle(about, rng)
    for _ in range(NUM_TEXTS):
        yield filled(phrasings.draw(), cycle.draw())


def train(file: Path, overrides: Sequence[str] = ()) -> Path:
    result = run(*load_run(str(file), list(overrides)), call=Call(last="training"))
    if result.status != "finished":
        raise SystemExit(f"{result.folder} was stopped; the same command resumes")
    return result.folder


def examined(folder: Path, seed: int, base: Path) -> Knowledge:
    """Return what the model of a run knows; its old text is what its base holds out of all sources but the made-up."""
    model, tokenizer = load_model(folder)
    evaluator = open_evaluator(config_of_run(base))
    evaluator.held_out.pop(MADE_UP, None)
    bits = evaluator.validate(model)["bits_per_byte_real_text"]
    given = Scorer(model), tokenizer, chat_prompts(tokenizer), seed, bits
    return examine(folder.name, "tuned", model_digest(checkpoint_of(folder)), *given)


def print_table(kept: dict[str, list[Knowledge]]) -> None:
    """Print each measure of each arm: all seeds' questions together with Wilson's interval, and the seeds' range."""
    for name, found in kept.items():
        print(f"\n{name}, seeds {', '.join(str(each.seed) for each in found)}")
        for column, measure in COLUMNS.items():
            print(f"    {column:32}{pooled([measure(each) for each in found])}")
        bits = [each.bits_per_byte for each in found]
        print(f"    {'old text, bits per byte':32}{min(bits):.3f} to {max(bits):.3f}")


def pooled(shares: Sequence[Estimate]) -> str:
    all_of_them = share(sum(round(each.value * each.num) for each in shares), sum(each.num for each in shares))
    values = [each.value for each in shares]
    return (
        f"{all_of_them.value:6.1%} ({all_of_them.low:.1%} to {all_of_them.high:.1%} of {all_of_them.num}), "
        f"by seed {min(values):.1%} to {max(values):.1%}"
    )


if __name__ == "__main__":
    main()
