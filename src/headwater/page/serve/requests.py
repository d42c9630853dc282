"""What clients of OpenAI's interface send: each field checked, and those that would change an answer here refused."""

from __future__ import annotations

import codecs
from asyncio import Semaphore
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, field_validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from headwater.core.validation import wanted
from headwater.page.serve.guard import Refusal

MAX_STOPS, MAX_STOP_CHARACTERS = 16, 200
MAX_CHOICES = 128  # of one request: prompts times n
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "suffix": (None, ""),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
}
"Fields that are not supported, with the values that ask for nothing; other unknown ones change no answer."


class Body(BaseModel):
    """What a request asks: fields that are of just the type that they have in JSON."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)


class ModelBody(Body):
    """What is asked of a model, which may be named."""

    model: str | None = None


class StreamOptions(Body):
    include_usage: bool = False


class GenerationBody(ModelBody):
    """What completions and conversations have in common."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS, fail_fast=True)] | None,
        wanted(f"it should be a text of 1 to {MAX_STOP_CHARACTERS} characters, or a list of at most {MAX_STOPS}"),
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


def _is_ids(value: Any) -> bool:
    return type(value) is list and all(type(each) is int and each >= 0 for each in value)


def _ids(value: Any) -> list[int]:
    if not _is_ids(value):
        raise ValueError("it should be a list of token ids")
    return value


def _prompt(value: Any) -> Any:
    """Check a prompt by hand: pydantic would write an error about each element, and for each kind of prompt."""
    if type(value) is str or _is_ids(value):
        return value
    if type(value) is not list or (not all(type(each) is str for each in value) and not all(map(_is_ids, value))):
        raise ValueError("it should be a text, a list of texts, a list of token ids or a list of such lists")
    return value


class CompletionBody(GenerationBody):
    prompt: Annotated[str | list[str] | list[int] | list[list[int]], PlainValidator(_prompt)]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: int | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return the prompts one by one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]  # type: ignore[list-item]
        return list(self.prompt)  # type: ignore[arg-type]


class TextPart(Body):
    type: Literal["text"]
    text: str


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str | Annotated[list[TextPart], Field(fail_fast=True)],
        wanted('it should be a text, or a list of {"type": "text", "text": …}'),
    ]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatBody(GenerationBody):
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None

    @field_validator("messages")
    @classmethod
    def _ends_with_a_question(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role == "assistant":
            raise ValueError("the last message is the assistant's own: there is nothing to answer")
        return messages


class TokenizeBody(ModelBody):
    prompt: str


class DetokenizeBody(ModelBody):
    tokens: Annotated[list[int], PlainValidator(_ids)]


AnyBody = TypeVar("AnyBody", bound=Body)


def _wrong_field(error: ValidationError) -> tuple[str | None, str]:
    """Return the first field that is wrong, as messages[0].role, and what is wrong with it, in pydantic's words."""
    first, where = error.errors(include_url=False, include_input=False)[0], ""
    for part in first["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f"{'.' if where else ''}{part}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return where or None, f"{where or 'the body'}: {message}"


async def read_body(kind: type[AnyBody], request: Request) -> AnyBody:
    """Return what a request asks, read in a thread; raise Refusal that names the field which is wrong."""
    return await run_in_threadpool(parse_body, kind, await request.body())


def question_route(path: str, kind: type[AnyBody], answer: Callable[[AnyBody], object], workers: Semaphore) -> Route:
    """Return a route that takes a question of this kind and gives its answer as JSON, made in one of the workers."""

    async def answered(request: Request) -> JSONResponse:
        question = await read_body(kind, request)
        async with workers:
            return JSONResponse(await run_in_threadpool(answer, question))

    return Route(path, answered, methods=["POST"])


def parse_body(kind: type[AnyBody], body: bytes) -> AnyBody:
    """Return what a body asks; raise Refusal that names the field which is wrong or not supported."""
    try:
        found = kind.model_validate_json(body)
    except ValidationError as error:
        param, message = _wrong_field(error)
        raise Refusal(400, message, param) from None
    for name, harmless in NEUTRAL.items():
        if (found.model_extra or {}).get(name) not in harmless:
            raise Refusal(400, f"{name} is not supported here; leave it out", name)
    return found


class ReleasingStream(StreamingResponse):
    """A stream that calls `release` at its end, also where the client left before `chunks` began."""

    def __init__(self, chunks: AsyncIterator[str | bytes], media_type: str, release: Callable[[], None]) -> None:
        super().__init__(chunks, media_type=media_type)
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


class GrowingText:
    """Bytes in, text out; what may be the beginning of a stop string is held back until it is known to be none."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.is_stopped = False
        self.num_characters = 0  # decoded, those held back included

    def add(self, data: bytes) -> str:
        """Return the text that is certain now and wasn't before."""
        return self._certain(self._decoder.decode(data))

    def finish(self) -> str:
        """Return what is left, when nothing more comes; bytes that are no whole character as U+FFFD."""
        found = self._certain(self._decoder.decode(b"", final=True))
        if not self.is_stopped:
            found, self._held = found + self._held, ""
        return found

    def _certain(self, more: str) -> str:
        if self.is_stopped:
            return ""
        self._held += more
        self.num_characters += len(more)
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.is_stopped = True
            self.num_characters -= len(self._held) - min(places)
            return self._held[: min(places)]
        num_held = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        certain, self._held = self._held[: len(self._held) - num_held], self._held[len(self._held) - num_held :]
        return certain


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
