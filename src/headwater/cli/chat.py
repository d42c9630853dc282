"""The verb chat: a conversation with a tuned model, in the terminal or for one answer."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated

from headwater.cli.arguments import AsJson, RunOption, option, unicode_text
from headwater.cli.model import ENDS, MaxTokens, Seed, Temperature, TopP, loaded
from headwater.cli.terminal import print_json, safe, say_aside
from headwater.cli.verbs import App
from headwater.core.conversations import ASSISTANT, SYSTEM, USER, Message
from headwater.core.errors import ConfigError


def add_to(app: App) -> None:
    app.verb(chat)


def chat(
    run: RunOption,
    prompt: Annotated[
        str | None, option("TEXT", "Print the answer to this alone.", "--prompt", "-p", callback=unicode_text)
    ] = None,
    system: Annotated[str | None, option("TEXT", "Said before all else, as the system.", callback=unicode_text)] = None,
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.0,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Talk with a model that was tuned on conversations.

    What you type is a message; an empty line, or the end of input, ends the conversation.
    """
    if as_json and prompt is None:
        raise ConfigError("--json prints one answer; give the question by --prompt TEXT")
    messages = [] if system is None else [Message(SYSTEM, system)]
    from headwater.runs.library.model import NOT_TUNED

    with loaded(run) as model, warnings.catch_warnings():
        warnings.filterwarnings("ignore", re.escape(NOT_TUNED))  # said here once, as a sentence
        if not model.is_tuned:
            say_aside(NOT_TUNED)
        if prompt is None and sys.stdin.isatty():
            say_aside("an empty line ends the conversation")
        for question in _questions() if prompt is None else [prompt]:
            messages.append(Message(USER, question))
            answer = ""
            for piece in model.chat_stream(messages, max_tokens, temperature, top_p, seed):
                answer += piece.text
                if not as_json:
                    print(safe(piece.text), end="", flush=True)
            if as_json:
                print_json({"prompt": prompt, "answer": answer, "num_tokens": piece.num_tokens, "end": piece.end})
                return
            print(flush=True)
            messages.append(Message(ASSISTANT, answer))
            if piece.end == "max_tokens":
                say_aside(ENDS[piece.end])


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
