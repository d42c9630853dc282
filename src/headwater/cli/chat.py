"""The verb chat: a conversation with a tuned model, in the terminal or for one answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

from headwater.cli.arguments import AsJson, RunOption, option, unicode_text
from headwater.cli.model import ENDS, loaded
from headwater.cli.terminal import print_json, safe, say_aside
from headwater.cli.verbs import App
from headwater.conversations import ASSISTANT, SYSTEM, USER, Message
from headwater.errors import ConfigError

NOT_TUNED = "this run was never tuned on conversations: what it writes is no answer; headwater downstream sft tunes it"


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
    messages = [] if system is None else [Message(SYSTEM, system)]
    with loaded(run) as model:
        if not model.is_tuned:
            say_aside(NOT_TUNED)
        if prompt is None and sys.stdin.isatty():
            say_aside("an empty line ends the conversation")
        if as_json:
            conversation = [*messages, Message(USER, str(prompt))]
            found = model.chat(conversation, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)
            print_json({"prompt": prompt, "answer": found.text, "num_tokens": found.num_tokens, "end": found.end})
            return
        for question in _questions() if prompt is None else [prompt]:
            messages.append(Message(USER, question))
            answer = ""
            for piece in model.chat_stream(
                messages, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
            ):
                answer += piece.text
                print(safe(piece.text), end="", flush=True)
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
