"""What clients of OpenAI's interface send: each field checked, and those that would change an answer here refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headwater.serve.refusal import Refusal

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


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)


class StreamOptions(_Body):
    include_usage: bool = False


class GenerationBody(_Body):
    """What completions and conversations have in common."""

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


Ids = list[Annotated[int, Field(ge=0)]]


class CompletionBody(GenerationBody):
    prompt: str | list[str] | Ids | list[Ids]
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


class TextPart(_Body):
    type: Literal["text"]
    text: str


class ChatMessage(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatBody(GenerationBody):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None

    @field_validator("messages")
    @classmethod
    def _ends_with_a_question(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role == "assistant":
            raise ValueError("the last message is the assistant's own: there is nothing to answer")
        return messages


class TokenizeBody(_Body):
    model: str | None = None
    prompt: str


class DetokenizeBody(_Body):
    model: str | None = None
    tokens: Ids


Body = TypeVar("Body", bound=_Body)


def read_body(kind: type[Body], body: bytes) -> Body:
    """Return what a request asks; raise Refusal that names the field which is wrong or not supported."""
    try:
        found = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(str(part) for part in first["loc"][:1]) or None
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        raise Refusal(400, f"{param}: {message}" if param else message, param) from None
    for name, harmless in NEUTRAL.items():
        if (found.model_extra or {}).get(name) not in harmless:
            raise Refusal(400, f"{name} is not supported here; leave it out", name)
    return found
