"""lm-evaluation-harness (extra `eval`): its tasks, read and scored by it, answered by our scorer and generator.

A prompt and what continues it are tokenized together and then split, and a text is scored in windows that don't
overlap, as lm-eval does with other models: figures are equal to those of its own paths (docs/log.md, 2026-11-29).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from headwater.core.conversations import ASSISTANT, Message
from headwater.core.errors import ConfigError, EvaluationError
from headwater.core.intervals import deviations_of, share
from headwater.evaluate.generate import Sampling, extended
from headwater.evaluate.scorer import Scorer
from headwater.evaluate.tasks import TaskScore
from headwater.tokens.tokenizer.conversation import END, START, prompt_ids, turn_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer

GENERATED_AT_ONCE = 32
DEFAULT_MAX_TOKENS = 256  # of a task that doesn't say, as in lm-eval's other models
BOOTSTRAPS = 1000  # resamplings, for the few metrics that have no formula of a standard error
STDERR, FILTERED, NO_METRICS = "_stderr", ",", ("alias", "sample_len", "sample_count")


@dataclass(frozen=True)
class _Request:
    """Ids to continue, and where to stop: at one of these texts, and after so many tokens."""

    ids: list[int]
    stops: list[str]
    max_tokens: int
    sampling: Sampling


def run_tasks(
    model: HarnessModel, folders: Sequence[str], names: Sequence[str], limit: int | None = None
) -> list[TaskScore]:
    """Return the scores of all tasks whose files lie in `folders`, and of those that lm-eval knows by these `names`.

    `limit` takes the first items of each alone. Raises ConfigError where there is no such task, EvaluationError where
    one can't be run: where its data isn't on this disk, for instance.
    """
    manager = TaskManager(include_path=list(folders), include_defaults=False)
    task_names = [*manager.all_tasks, *names]
    if folders and not manager.all_tasks:
        raise ConfigError(f"{', '.join(folders)}: no task file (.yaml) lies there; --write-tasks writes those of a run")
    if names:  # lm-eval's own are thousands of files
        manager = TaskManager(include_path=list(folders))
    if unknown := [name for name in names if not manager.match_tasks([name])]:
        raise ConfigError(f"lm-eval knows no task {', '.join(unknown)}; `lm_eval ls tasks` lists them")
    try:
        found = simple_evaluate(
            model,
            tasks=task_names,
            task_manager=manager,
            limit=limit,
            bootstrap_iters=BOOTSTRAPS,
            log_samples=False,
            apply_chat_template=model.is_chat,
        )
    except OSError as error:  # what is missing on the disk and what is out of reach, both
        raise EvaluationError(
            f"the data of {', '.join(task_names)} isn't on this disk, and nothing is downloaded here ({error}); with a "
            "network, `lm_eval run --model dummy --limit 1 --tasks NAME` fetches it once"
        ) from error
    return _scores(found)


def _scores(found: Mapping[str, Any]) -> list[TaskScore]:
    scores = []
    for task, values in found["results"].items():
        num_items = found["n-samples"].get(task, {}).get("effective")
        for name, value in values.items():
            metric, _, filtered = name.partition(FILTERED)
            if metric.endswith(STDERR) or metric in NO_METRICS or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}{STDERR}{FILTERED}{filtered}")
            shown = metric if filtered == "none" else f"{metric} ({filtered})"
            scores.append(score_of(task, shown, float(value), error, num_items))
    return scores


def score_of(task: str, metric: str, value: float, error: Any, num_items: int | None) -> TaskScore:
    """Return a value with its interval; a share of items is what varies as one: lm-eval says of none what it is."""
    score = TaskScore(task, metric, value, low=None, high=None, is_share=False, num_items=num_items)
    if not isinstance(error, int | float):
        return score
    if num_items and num_items > 1 and 0 <= value <= 1:
        of_share = math.sqrt(value * (1 - value) / (num_items - 1))
        if math.isclose(error, of_share, rel_tol=1e-6, abs_tol=1e-12):
            found = share(round(value * num_items), num_items)
            return replace(score, low=found.low, high=found.high, is_share=True)
    half = deviations_of(0.95) * error
    return replace(score, low=value - half, high=value + half)


class HarnessModel(TemplateLM):
    """A model as lm-eval asks it: text in, log-probabilities and text out."""

    def __init__(self, scorer: Scorer, tokenizer: Tokenizer, is_chat: bool) -> None:
        """`is_chat`: each prompt is what a user says, or what a user and the model have said alternately."""
        super().__init__()
        self.is_chat = is_chat
        self._scorer, self._tokenizer = scorer, tokenizer
        self._ends = {tokenizer.end_id} | ({turn_ids(tokenizer)[1]} if is_chat else set())
        self._chats: dict[str, list[int]] = {}

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.end_id

    @property
    def prefix_token_id(self) -> int:
        return self._tokenizer.begin_id

    @property
    def tokenizer_name(self) -> str:
        return self._tokenizer.digest

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        if string in self._chats:
            return self._chats[string]
        ids = self._tokenizer.encode(string)
        return ids if add_special_tokens is False else [self._tokenizer.begin_id, *ids]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context in self._chats:  # an answer begins where the tokens of its turn end
            return self._chats[context], self._tokenizer.encode(continuation)
        return super()._encode_pair(context, continuation)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as text, under which its ids are kept: a message that spells a token stays text."""
        messages = [Message(each["role"], each["content"]) for each in chat_history]
        prefix = "" if add_generation_prompt else messages.pop().content
        turns = [f"{START}{role}\n{content}{END}\n" for role, content in messages]
        text = "".join([*turns, f"{START}{ASSISTANT}\n{prefix}"])
        self._chats[text] = prompt_ids(self._tokenizer, messages) + self._tokenizer.encode(prefix)
        return text

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm)

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any) -> list[Any]:
        found = self._scorer.loglikelihood_and_greedy([(context, rest) for _, context, rest in requests])
        return list(zip(*(each.tolist() for each in found), strict=True))

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        windows = [
            [
                make_disjoint_window(window)
                for window in get_rolling_token_windows(
                    token_list=self._tokenizer.encode(text),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self._scorer.max_tokens,
                    context_len=1,
                )
            ]
            for (text,) in (request.args for request in requests)
        ]
        log_p = iter(self._scorer.loglikelihood([window for each in windows for window in each]).tolist())
        return [sum(next(log_p) for _ in each) for each in windows]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        wanted = [self._request(number, *request.args) for number, request in enumerate(requests)]
        order = sorted(range(len(wanted)), key=lambda number: (wanted[number].max_tokens, len(wanted[number].ids)))
        texts = [""] * len(wanted)
        for first in range(0, len(order), GENERATED_AT_ONCE):
            batch = order[first : first + GENERATED_AT_ONCE]
            for number, text in zip(batch, self._continue([wanted[each] for each in batch]), strict=True):
                texts[number] = text
        return texts

    def _request(self, number: int, context: str, options: dict[str, Any]) -> _Request:
        """Return what a task asks for; a prompt leaves room for the answer, as far as half of what the model sees."""
        given = normalize_gen_kwargs(options, DEFAULT_MAX_TOKENS)
        max_tokens, most = given["max_gen_toks"], self._scorer.max_tokens
        ids = self.tok_encode(context)[-max(most - max_tokens, most // 2, 1) :]
        temperature = float(given.get("temperature", 0.0)) if given["do_sample"] else 0.0
        # another seed for each, so that a prompt that comes twice gets two answers
        sampling = Sampling(temperature, float(given.get("top_p", 1.0)), seed=number)
        return _Request(ids, [stop for stop in given["until"] if stop], max_tokens, sampling)

    def _continue(self, batch: Sequence[_Request]) -> list[str]:
        def choose(logits_BV: Tensor, numbers: list[int], lengths: list[int]) -> list[int]:
            rows = zip(logits_BV, numbers, lengths, strict=True)
            return [batch[number].sampling.choose(row_V[None], [number], [length])[0] for row_V, number, length in rows]

        def is_done(row: list[int], text: str, each: _Request) -> bool:
            return row[-1] in self._ends or len(row) - len(each.ids) >= each.max_tokens or _cut(text, each) != text

        texts = [""] * len(batch)
        rows, most = [each.ids for each in batch], max(each.max_tokens for each in batch)
        for grown in extended(self._scorer, rows, most, self._ends, choose):
            written = [row[len(each.ids) :][: each.max_tokens] for row, each in zip(grown, batch, strict=True)]
            texts = [self._tokenizer.decode(ids) for ids in written]
            if all(map(is_done, grown, texts, batch)):
                break
        return [_cut(text, each) for text, each in zip(texts, batch, strict=True)]


def _cut(text: str, request: _Request) -> str:
    """Return a text up to the first of its stops."""
    return text[: min((at for stop in request.stops if (at := text.find(stop)) >= 0), default=len(text))]
