"""Rewards that a program can verify: what an answer is worth, from the question and the right answer alone."""

from __future__ import annotations

import importlib
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeVar

from headwater.core.code import load_code
from headwater.core.errors import ConfigError, DataError, TrainingError

MAX_PROMPTS = 1_000_000
GROUP = "headwater.rewards"
"Of the entry points by which packages add rewards."
NUMBER = re.compile(r"(?:(?<!\d)-)?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """A prompt and what its reward compares the answer with."""

    prompt: str
    answer: str


Reward = Callable[[str, str, str], float]
"Of the prompt, what the model wrote after it, and the answer of the prompt's line in the file."


def exact(prompt: str, written: str, answer: str) -> float:
    """Return 1 where the written text is the answer, apart from blanks around it."""
    return float(written.strip() == answer.strip())


def number(prompt: str, written: str, answer: str) -> float:
    """Return 1 where the last number written is the answer's."""
    found, right = NUMBER.findall(written), NUMBER.findall(answer)
    return float(bool(found and right) and Decimal(found[-1].replace(",", "")) == Decimal(right[-1].replace(",", "")))


def form(prompt: str, written: str, answer: str) -> float:
    """Return 1 where the regular expression `answer` matches all that was written, apart from blanks around it."""
    return float(re.fullmatch(answer, written.strip(), re.DOTALL) is not None)


BUILT_IN: dict[str, Reward] = {"exact": exact, "number": number, "form": form}


def reward_named(name: str) -> Reward:
    """Return a reward that is built in or installed; raise ConfigError for any other.

    A run file may name these alone: it is data, and a `module:function` in it could be any function of any module.
    """
    installed = {each.name: each for each in entry_points(group=GROUP)}
    if name in BUILT_IN or name in installed:
        return BUILT_IN[name] if name in BUILT_IN else _called(name, installed[name].load)
    by_hand = "a function is named on the command line alone: `headwater downstream rl RUN --reward FILE.py:FUNCTION`"
    why = by_hand if ":" in name else f"a package adds one as an entry point of the group {GROUP}"
    raise ConfigError(f"there is no reward {name!a}; give {', '.join([*BUILT_IN, *installed])}; {why}")


def reward_at(place: str) -> Reward:
    """Return the function that a person names on the command line; raise ConfigError where there is none.

    `module:function` of an installed module or one in this folder, or `FILE.py:function`.
    """
    module, _, function = place.rpartition(":")

    def load() -> Any:
        if not module.endswith(".py"):
            if (here := str(Path.cwd())) not in sys.path:
                sys.path.append(here)  # last: a file here hides no installed module
            return getattr(importlib.import_module(module), function)
        return load_code(place, Path())

    return _called(place, load)


def _called(name: str, load: Callable[[], Any]) -> Reward:
    try:
        found = load()
    except Exception as error:  # whatever the module does when it is imported
        raise ConfigError(f"the reward {name!a} can't be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"the reward {name!a} is not a function but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def require_answers(name: str, questions: Iterable[Question]) -> None:
    """Raise DataError where a question has no answer that the built-in reward of this name can compare with."""
    for question in questions:
        about = f"the answer of the prompt {question.prompt!a:.120}"
        if name in BUILT_IN and not question.answer.strip():
            raise DataError(f'{about} is empty, or its line has no "answer"; the reward {name} needs one')
        if name == "form":
            try:
                re.compile(question.answer, re.DOTALL)
            except (re.error, OverflowError, RecursionError) as error:
                raise DataError(f"{about} is no regular expression: {error}; found {question.answer!a:.120}") from None


def checked_reward(reward: Reward, question: Question, written: str) -> float:
    """Return a reward; raise TrainingError, with the prompt, where the function fails or returns no finite number."""
    about = f"of the prompt {question.prompt!a:.200} and the text {written!a:.200}"
    try:
        value = reward(question.prompt, written, question.answer)
    except Exception as error:  # a user's function
        raise TrainingError(f"the reward function failed: {type(error).__name__}: {error}; it was {about}") from error
    if isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value)):
        return float(value)
    raise TrainingError(f"the reward function returned {value!r:.100} and not a finite number; it was {about}")


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a JSONL file with a "prompt" and, where the reward needs one, an "answer" on each line.

    Raises DataError that names the line where one is none, and where there is no question or a prompt twice.
    """
    seen: set[str] = set()

    def question_of(fields: dict[str, Any]) -> Question:
        prompt, answer = fields.get("prompt"), fields.get("answer", "")
        if not isinstance(prompt, str) or not prompt or not isinstance(answer, str | int | float):
            raise DataError('must be {"prompt": "…", "answer": "…"}')
        if prompt in seen:
            raise DataError(f"has the prompt {prompt!a:.120} a second time")
        seen.add(prompt)
        return Question(prompt, str(answer))

    found = read_lines(path, question_of)
    if not 1 <= len(found) <= MAX_PROMPTS:
        raise DataError(f"{path} has {len(found)} prompts; give 1 to {MAX_PROMPTS:,}")
    return found


HELD_OUT_FRACTION, MAX_HELD_OUT = 0.2, 64
Item = TypeVar("Item")


class HasPrompt(Protocol):
    @property
    def prompt(self) -> str: ...


Prompted = TypeVar("Prompted", bound=HasPrompt)


def read_lines(path: Path, item_of: Callable[[dict[str, Any]], Item]) -> list[Item]:
    """Return the item of each line that isn't blank; `item_of` raises DataError for an object that makes none.

    Raises DataError that names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as UTF-8 text: {error}") from error
    found = []
    for index, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            found.append(item_of(value if isinstance(value, dict) else {}))
        except (ValueError, RecursionError):
            raise DataError(f"{path}:{index}: is no JSON; found {line!a:.120}") from None
        except DataError as error:
            raise DataError(f"{path}:{index}: {error}; found {line!a:.120}") from None
    return found


def divided(
    items: Sequence[Prompted], held_out: Sequence[Prompted] | None, seed: int
) -> tuple[list[Prompted], list[Prompted]]:
    """Return those to train on and some to measure; no prompt is in both."""
    prompts = list(dict.fromkeys(each.prompt for each in items))
    if held_out is not None:
        if both := {each.prompt for each in held_out}.intersection(prompts):
            raise DataError(f"{len(both)} held-out prompts are also trained on, such as {min(both)!a:.120}")
        return list(items), list(held_out)
    num_held_out = min(MAX_HELD_OUT, round(HELD_OUT_FRACTION * len(prompts)))
    if num_held_out < 2:
        raise ConfigError(
            f"{len(prompts)} prompts are too few to hold some out for measuring; give more, or those to measure in "
            "a file of their own, which `headwater downstream rl`, `dpo` and `reward` take by --held-out"
        )
    shuffled = random.Random(f"held out {seed}").sample(prompts, len(prompts))
    place_of = {prompt: place for place, prompt in enumerate(shuffled)}
    ordered = sorted(items, key=lambda each: place_of[each.prompt])
    num_measured = sum(place_of[each.prompt] < num_held_out for each in items)
    return ordered[num_measured:], ordered[:num_measured]
