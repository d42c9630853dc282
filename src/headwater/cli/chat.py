"""The verb chat: a conversation with a tuned model, in the terminal or for one answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from headwater.cli.arguments import AsJson, RunOption, folder_of, option, unicode_text
from headwater.cli.model import ENDS, loaded
from headwater.cli.terminal import print_json, safe, say_aside
from headwater.cli.verbs import App
from headwater.conversations import ASSISTANT, SYSTEM, USER, Message
from headwater.errors import ConfigError

if TYPE_CHECKING:
    from headwater.evaluate.generate import Piece, Sampling
    from headwater.evaluate.scorer import Scorer
    from headwater.tokenizer.tokenizer import Tokenizer

NOT_TUNED = "this run was never tuned on conversations, so that it won't answer; headwater downstream sft does that"


def add_to(app: App) -> None:
    app.verb(chat)


def chat(
    run: RunOption,
    prompt: Annotated[
        str | None, option("TEXT", "Print the answer to this alone.", "--prompt", "-p", callback=unicode_text)
    ] = None,
    system: Annotated[str | None, option("TEXT", "Said before all else, as the system.", callback=unicode_text)] = None,
    max_tokens: Annotated[int, option("N", "Stop an answer after this many tokens.", min=1)] = 200,
    temperature: Annotated[float, option("X", "Randomness: 0 takes the likeliest token, 1 samples as learned.")] = 0.0,
    top_p: Annotated[float, option("P", "Sample from the likeliest tokens that add up to this probability.")] = 0.95,
    seed: Annotated[int, option("N", "The same seed gives the same answers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Talk with a model that was tuned on conversations.

    What you type is a message; an empty line, or the end of input, ends the conversation.
    """
    if as_json and prompt is None:
        raise ConfigError("--json prints one answer; give the question by --prompt TEXT")
    from headwater.evaluate.generate import Sampling

    sampling = Sampling(temperature, top_p, seed)
    messages = [] if system is None else [Message(SYSTEM, system)]
    if not _is_tuned(run):
        say_aside(NOT_TUNED)
    if prompt is None and sys.stdin.isatty():
        say_aside("an empty line ends the conversation")
    with loaded(run) as (scorer, tokenizer):
        talk = _Talk(scorer, tokenizer, max_tokens, sampling, messages)
        if as_json:
            pieces = list(talk.answer(str(prompt)))
            last = pieces[-1]
            answer = {"prompt": prompt, "answer": talk.messages[-1].content}
            print_json(answer | {"num_tokens": last.num_tokens, "end": last.end})
            return
        for question in _questions() if prompt is None else [prompt]:
            for piece in talk.answer(question):
                print(safe(piece.text), end="", flush=True)
            print(flush=True)
            if piece.end == "max_tokens":
                say_aside(ENDS[piece.end])


def _is_tuned(run: str) -> bool:
    from headwater.runs.run_config import config_of_run
    from headwater.sources.settings import CONVERSATIONS

    return any(source.kind == CONVERSATIONS for source in config_of_run(folder_of(run)).corpus.sources.values())


def _questions() -> Iterator[str]:
    """Yield what a person types, a line each, up to an empty line."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


class _Talk:
    """A conversation as it goes; of one that is longer than the model sees, the oldest questions are forgotten."""

    def __init__(
        self, scorer: Scorer, tokenizer: Tokenizer, max_tokens: int, sampling: Sampling, messages: list[Message]
    ) -> None:
        self._scorer, self._tokenizer = scorer, tokenizer
        self._max_tokens, self._sampling = max_tokens, sampling
        self.messages = messages

    def answer(self, question: str) -> Iterator[Piece]:
        """Yield the answer to a question, a piece a token, and keep both."""
        from headwater.evaluate.generate import stream_from
        from headwater.tokenizer.conversation import turn_ids

        self.messages.append(Message(USER, question))
        ends, pieces = {self._tokenizer.end_id, turn_ids(self._tokenizer)[1]}, []
        for piece in stream_from(self._scorer, self._tokenizer, self._seen(), self._max_tokens, self._sampling, ends):
            pieces.append(piece)
            yield piece
        self.messages.append(Message(ASSISTANT, "".join(piece.text for piece in pieces)))

    def _seen(self) -> list[int]:
        from headwater.tokenizer.conversation import prompt_ids

        first = sum(role == SYSTEM for role, _ in self.messages)
        room = self._scorer.max_tokens - min(self._max_tokens, self._scorer.max_tokens // 2)
        for start in range(first, len(self.messages), 2):
            ids = prompt_ids(self._tokenizer, self.messages[:first] + self.messages[start:])
            if len(ids) <= room:
                break
        return ids
