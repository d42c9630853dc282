"""Completions and answers as OpenAI's interface has them, whole and as a stream."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headwater.core.conversations import SYSTEM, Message
from headwater.evaluate.generate import Sampling
from headwater.model.init import derived_seed
from headwater.page.serve.engine import Answers, GenerationEngine, GenerationQuery, Prompt, Scored
from headwater.page.serve.guard import Refusal
from headwater.page.serve.requests import (
    MAX_CHOICES,
    ChatBody,
    CompletionBody,
    GenerationBody,
    GrowingText,
    ReleasingStream,
)
from headwater.tokens.tokenizer.conversation import prompt_ids, turn_ids

MAX_PROMPT_TOKENS = 131_072  # of one request: each choice reads its prompt by itself
MAX_PROMPT_SCORES = 524_288  # log-probabilities of prompts, which a request's answer holds at once
DEFAULT_TOKENS = 16  # of a completion, as OpenAI's documentation says
CLIENT_LEFT = 499
NOT_TUNED = (
    "this model was never tuned on conversations, as far as its run or its chat template says, and can't answer; ask "
    "/v1/completions to continue a text"
)


class ShownToken(NamedTuple):
    """A token as clients see it: its bytes (a special one's name), where its text begins, and log-probabilities."""

    data: bytes
    offset: int
    log_p: float | None
    top: tuple[tuple[bytes, float], ...] = ()

    @property
    def name(self) -> str:
        return _name(self.data)


class CompletionText(NamedTuple):
    """What is new of a choice; the last one says why it is."""

    text: str
    tokens: list[ShownToken]
    finish_reason: str | None = None


@dataclass
class CompletionChoice:
    """One continuation that a request asks for; `prompt` are the ids that its client knows of, `echoed` their text."""

    prompt: list[int]
    query: GenerationQuery
    text: GrowingText
    echoed: str = ""
    num_written: int = 0
    pieces: list[CompletionText] = field(default_factory=list)


def completion_choices(engine: GenerationEngine, body: CompletionBody) -> list[CompletionChoice]:
    """Return the choices of a request; raise Refusal or TokenizerError for prompts that can't be read."""
    if body.best_of not in (None, body.n or 1):
        raise Refusal(400, "best_of is not supported here; leave it out", "best_of")
    if not body.prompts or len(body.prompts) * (body.n or 1) > MAX_CHOICES:
        raise Refusal(400, f"prompt: 1 to {MAX_CHOICES} are answered at once, n counted", "prompt")
    tokenizer, found, num_tokens = engine.tokenizer, [], 0
    ends = {tokenizer.end_id, *(turn_ids(tokenizer)[1:] if engine.is_tuned else ())}
    for prompt in body.prompts:
        if isinstance(prompt, str):
            _require_fit(engine, len(prompt.encode(errors="replace")) // engine.max_token_bytes, "prompt")
            shown, text = tokenizer.encode(prompt), prompt
            ids = [tokenizer.begin_id, *shown]
        else:
            # every document that the model read began so. lm-eval writes the end token where a text is to begin
            ids = [tokenizer.begin_id, *prompt[prompt[:1] in ([tokenizer.begin_id], [tokenizer.end_id]) :]]
            _require_fit(engine, len(ids), "prompt")
            if any(token >= tokenizer.vocab_size for token in prompt):
                raise Refusal(400, f"prompt: the ids of this model are 0 to {tokenizer.vocab_size - 1}", "prompt")
            shown, text = prompt, b"".join(map(engine.data_of, prompt)).decode(errors="replace")
        _require_fit(engine, len(ids), "prompt")
        most = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
        scores_prompt = bool(body.echo) and body.logprobs is not None
        num_tokens += len(ids) * (body.n or 1)
        _require_few(num_tokens, (body.logprobs or 0) + 1 if scores_prompt else 0)
        for query in _queries(engine, body, ids, most, ends, body.logprobs, scores_prompt):
            found.append(CompletionChoice(shown, query, GrowingText(body.stops), text if body.echo else ""))
    return found


def chat_choices(engine: GenerationEngine, body: ChatBody) -> list[CompletionChoice]:
    """Return the choices of a request; raise Refusal where the model answers nobody, or not so much."""
    if not engine.is_tuned:
        raise Refusal(400, NOT_TUNED, "model")
    messages = [Message(SYSTEM if each.role == "developer" else each.role, each.text) for each in body.messages]
    num_bytes = sum(len(content.encode(errors="replace")) for _, content in messages)
    _require_fit(engine, num_bytes // engine.max_token_bytes, "messages")
    ids = prompt_ids(engine.tokenizer, messages)
    _require_fit(engine, len(ids), "messages")
    limits = [each for each in (body.max_completion_tokens, body.max_tokens) if each is not None]
    ends = {engine.tokenizer.end_id, turn_ids(engine.tokenizer)[1]}
    num_top = (body.top_logprobs or 0) if body.logprobs else None
    queries = _queries(engine, body, ids, min(limits, default=engine.max_tokens), ends, num_top)
    return [CompletionChoice(ids, query, GrowingText(body.stops)) for query in queries]


def _require_fit(engine: GenerationEngine, num_tokens: int, param: str) -> None:
    if num_tokens > engine.max_tokens:
        raise Refusal(
            400, f"{param}: this model sees {engine.max_tokens} tokens, and there are at least {num_tokens}", param
        )


def _require_few(num_tokens: int, num_scores: int) -> None:
    """Raise Refusal where the prompts of all choices have too many tokens, or these too many scores each."""
    if num_tokens > MAX_PROMPT_TOKENS:
        raise Refusal(
            400, f"prompt: all choices' prompts may have {MAX_PROMPT_TOKENS:,} tokens; ask for fewer at once", "prompt"
        )
    if num_tokens * num_scores > MAX_PROMPT_SCORES:
        raise Refusal(
            400,
            f"logprobs: with echo, an answer holds at most {MAX_PROMPT_SCORES:,} log-probabilities of prompts; "
            "ask for fewer choices or logprobs",
            "logprobs",
        )


def _queries(
    engine: GenerationEngine,
    body: GenerationBody,
    ids: list[int],
    max_tokens: int,
    ends: set[int],
    num_top: int | None,
    scores_prompt: bool = False,
) -> list[GenerationQuery]:
    """Return a query for each of `n` choices: the first draws with the seed that is asked for, as `generate` does."""
    seed = secrets.randbelow(2**63) if body.seed is None else body.seed
    temperature, top_p = (1.0 if each is None else each for each in (body.temperature, body.top_p))
    seeds = [derived_seed(seed, "choice", number) if number else seed for number in range(body.n or 1)]
    most = min(max_tokens, engine.max_tokens + 1 - len(ids))  # the last token is drawn, and not read
    samplings = [Sampling(temperature, top_p, seed) for seed in seeds]
    return [GenerationQuery(ids, most, sampling, frozenset(ends), num_top, scores_prompt) for sampling in samplings]


def _name(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


async def pieces(
    engine: GenerationEngine, choices: list[CompletionChoice], answers: Answers
) -> AsyncIterator[tuple[int, CompletionText]]:
    """Yield (number of the choice, what is new of it), the text of a prompt that is to be echoed first."""

    def shown(scored: Scored, offset: int) -> ShownToken:
        top = tuple((engine.data_of(token), log_p) for token, log_p in scored.top)
        return ShownToken(engine.data_of(scored.token), offset, scored.log_p, top)

    for number, choice in enumerate(choices):
        if choice.echoed and not choice.query.scores_prompt:
            yield number, CompletionText(choice.echoed, [])
    async for number, event in answers:
        choice = choices[number]
        if isinstance(event, Prompt):
            decoded, tokens = GrowingText(), []
            # what the first is, nothing before it says
            scores = [None, *event.scored[len(event.scored) - len(choice.prompt) + 1 :]] if choice.prompt else []
            for token, score in zip(choice.prompt, scores, strict=True):
                known = Scored(token) if score is None else score._replace(token=token)
                tokens.append(shown(known, decoded.num_characters))
                decoded.add(tokens[-1].data)
            yield number, CompletionText(choice.echoed, tokens)
        elif isinstance(event, Scored):
            choice.num_written += 1
            before = choice.text.num_characters
            text = choice.text.add(engine.tokenizer.token_bytes(event.token))
            if choice.text.is_stopped:
                answers.drop(number)
                tokens = [shown(event, len(choice.echoed) + before)] if before < choice.text.num_characters else []
                yield number, CompletionText(text, tokens, "stop")
            else:
                yield number, CompletionText(text, [shown(event, len(choice.echoed) + before)])
        else:
            text = choice.text.finish()
            yield number, CompletionText(text, [], "stop" if choice.text.is_stopped else event.reason)


Shape = Callable[[int, CompletionText], dict[str, Any]]
"A choice of an answer, or of a chunk of one, with its number."


def completion_shape(with_logprobs: bool) -> Shape:
    def shape(number: int, piece: CompletionText) -> dict[str, Any]:
        logprobs = None
        if with_logprobs:
            logprobs = {
                "tokens": [token.name for token in piece.tokens],
                "token_logprobs": [token.log_p for token in piece.tokens],
                "top_logprobs": [_top_by_name(token) for token in piece.tokens],
                "text_offset": [token.offset for token in piece.tokens],
            }
        return {"index": number, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish_reason}

    return shape


def _top_by_name(token: ShownToken) -> dict[str, float] | None:
    if token.log_p is None:
        return None
    found: dict[str, float] = {}
    for data, log_p in (*token.top, (token.data, token.log_p)):  # likeliest first
        found.setdefault(_name(data), log_p)
    return found


def chat_shape(field_name: str, with_logprobs: bool) -> Shape:
    """Return the shape of an answer, whose `field_name` is message, or of a chunk, whose is delta."""

    def shape(number: int, piece: CompletionText) -> dict[str, Any]:
        role = {"role": "assistant"} if field_name == "message" else {}
        logprobs = None
        if with_logprobs:
            content = [
                _chat_token(token.data, token.log_p)
                | {"top_logprobs": [_chat_token(data, log_p) for data, log_p in token.top]}
                for token in piece.tokens
            ]
            logprobs = {"content": content, "refusal": None}
        message = role | {"content": piece.text}
        return {"index": number, field_name: message, "logprobs": logprobs, "finish_reason": piece.finish_reason}

    return shape


def _chat_token(data: bytes, log_p: float | None) -> dict[str, Any]:
    return {"token": _name(data), "logprob": log_p, "bytes": list(data)}


def _usage(choices: list[CompletionChoice], num_choices: int) -> dict[str, int]:
    read = sum(len(choice.prompt) for choice in choices[::num_choices])
    written = sum(choice.num_written for choice in choices)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _whole(choice: CompletionChoice) -> CompletionText:
    """Return all pieces as one, without the tokens of a text that a stop string has cut off."""
    text = "".join(piece.text for piece in choice.pieces)
    tokens = [token for piece in choice.pieces for token in piece.tokens]
    if choice.text.is_stopped:
        tokens = [token for token in tokens if token.offset < len(text)]
    return CompletionText(text, tokens, choice.pieces[-1].finish_reason)


async def answer_completion(engine: GenerationEngine, request: Request, body: CompletionBody) -> Response:
    choices = await asyncio.to_thread(completion_choices, engine, body)
    shape = completion_shape(body.logprobs is not None)
    return await _answer(engine, request, body, choices, "cmpl", ("text_completion",) * 2, (shape, shape))


async def answer_chat(engine: GenerationEngine, request: Request, body: ChatBody) -> Response:
    choices = await asyncio.to_thread(chat_choices, engine, body)
    shapes = chat_shape("message", bool(body.logprobs)), chat_shape("delta", bool(body.logprobs))
    kinds = ("chat.completion", "chat.completion.chunk")
    return await _answer(engine, request, body, choices, "chatcmpl", kinds, shapes)


async def _answer(
    engine: GenerationEngine,
    request: Request,
    body: GenerationBody,
    choices: list[CompletionChoice],
    prefix: str,
    kinds: tuple[str, str],
    shapes: tuple[Shape, Shape],
) -> Response:
    """Return an answer, or a stream of chunks: `kinds` and `shapes` are the answer's and a chunk's."""
    answers = engine.ask([choice.query for choice in choices])
    about: dict[str, Any] = {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time())}
    about |= {"model": engine.name, "object": kinds[bool(body.stream)]}

    def event(more: dict[str, Any]) -> str:
        """Return a server-sent event, in ASCII: a line of theirs must not end where Unicode has a line end."""
        return f"data: {json.dumps(about | more, allow_nan=False)}\n\n"

    async def chunks() -> AsyncIterator[str]:
        try:
            for number in range(len(choices)) if isinstance(body, ChatBody) else ():
                first = {"role": "assistant", "content": ""}
                yield event({"choices": [{"index": number, "delta": first, "logprobs": None, "finish_reason": None}]})
            async for number, piece in pieces(engine, choices, answers):
                if piece.text or piece.tokens or piece.finish_reason:
                    yield event({"choices": [shapes[1](number, piece)]})
            if body.stream_options and body.stream_options.include_usage:
                yield event({"choices": [], "usage": _usage(choices, body.n or 1)})
        except Refusal as refusal:  # the status has gone out already
            yield f"data: {json.dumps(refusal.body())}\n\n"
        finally:
            answers.drop_all()

    async def collect() -> Response:
        async for number, piece in pieces(engine, choices, answers):
            choices[number].pieces.append(piece)
        found = [shapes[0](number, _whole(choice)) for number, choice in enumerate(choices)]
        return JSONResponse(about | {"choices": found, "usage": _usage(choices, body.n or 1)})

    if body.stream:
        return ReleasingStream(chunks(), "text/event-stream", answers.drop_all)
    try:
        return await _unless_left(request, collect())
    finally:
        answers.drop_all()


async def _unless_left(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Return what `work` returns; give it up as soon as the client has left."""

    async def leaves() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leaves())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=CLIENT_LEFT)
    finally:
        working.cancel()
        leaving.cancel()
