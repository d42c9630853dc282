"""A conversation: messages of a system, a user and an assistant, and why one can't be learned from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)
_FIELDS = ("messages", "conversations", "conversation")
_KINDS = {list: "a list", dict: "an object", str: "a string", bool: "a truth value", type(None): "null"}


class Message(NamedTuple):
    """What one of ROLES says."""

    role: str
    content: str


class Refused(Exception):
    """A conversation that can't be learned from: the reason, in one word, and what decided, in a few."""

    def __init__(self, reason: str, because: str) -> None:
        super().__init__(reason)
        self.reason, self.because = reason, because


def read_messages(record: Any, field: str | None = None) -> list[Message]:
    """Return the messages of {"messages": [{"role": …, "content": …}, …]}, of which nothing but the form is checked.

    They stand under `field`, else under messages or conversations. Raises Refused.
    """
    fields = record if isinstance(record, dict) else {}
    name = next((name for name in ((field,) if field else _FIELDS) if name in fields), None)
    if name is None:
        raise Refused("no_messages", f"no list of messages under {field or _FIELDS[0]}")
    if not isinstance(fields[name], list) or not fields[name]:
        raise Refused("no_messages", f"{name} is {_kind(fields[name])}" if fields[name] != [] else f"{name} is empty")
    return [_message(number, each) for number, each in enumerate(fields[name], start=1)]


def _message(number: int, given: Any) -> Message:
    message = given if isinstance(given, dict) else {}
    for name in Message._fields:
        if not isinstance(message.get(name), str):
            found = f"its {name} is {_kind(message[name])}" if name in message else f"it has no {name}"
            raise Refused("no_messages", f"message {number}: {found}; expected {{role: string, content: string}}")
    return Message(message["role"], message["content"])


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def require_learnable(messages: list[Message]) -> None:
    """Raise Refused for messages that aren't, after a system's perhaps, those of a user and an assistant alternately.

    The last is the assistant's, and none is empty.
    """
    for number, (role, content) in enumerate(messages, start=1):
        if role not in ROLES:
            raise Refused("unknown_role", f"message {number}: {role[:40]!r} is none of {', '.join(ROLES)}")
        if not content.strip():
            raise Refused("empty_message", f"message {number}, the {role}'s, is empty")
        if role == SYSTEM and number > 1:
            raise Refused("system_not_first", f"message {number} is the system's")
    roles = [role for role, _ in messages if role != SYSTEM]
    if ASSISTANT not in roles:
        raise Refused("no_answer", "the assistant says nothing")
    for number, (role, before) in enumerate(zip(roles, [ASSISTANT, *roles]), start=len(messages) - len(roles) + 1):
        if role == before:
            where = "twice in a row" if number > len(messages) - len(roles) + 1 else "first"
            raise Refused("not_alternating", f"message {number}: the {role} speaks {where}")
    if roles[-1] == USER:
        raise Refused("ends_with_user", "the last message is the user's: nothing answers it")


def as_text(messages: Iterable[Message]) -> str:
    """Return the messages as the text of a document: a list in JSON, which `messages_of` reads."""
    return json.dumps([message._asdict() for message in messages], ensure_ascii=False)


def messages_of(text: str) -> list[Message]:
    return [Message(each["role"], each["content"]) for each in json.loads(text)]


def spoken(messages: Iterable[Message]) -> str:
    """Return what is said, without who says it."""
    return "\n\n".join(content for _, content in messages)
