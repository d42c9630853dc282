"""The paths of OpenAI's interface, and of vLLM's for tokens, which lm-eval asks."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from headwater.serve.completions import answer_chat, answer_completion
from headwater.serve.engine import Engine
from headwater.serve.refusal import Refusal
from headwater.serve.requests import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody, read_body


def routes_of(engine: Engine) -> list[BaseRoute]:
    """Return the routes behind which a model answers."""
    tokenizer = engine.tokenizer

    def require_model(name: str | None) -> None:
        if name not in (None, engine.name):
            raise Refusal(404, f"there is no model {name[:200]!a} here; this one is {engine.name}", "model")

    async def models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [_model(engine)]})

    async def model(request: Request) -> JSONResponse:
        require_model(request.path_params["name"])
        return JSONResponse(_model(engine))

    async def completions(request: Request) -> Response:
        body = await read_body(CompletionBody, request)
        require_model(body.model)
        return await answer_completion(engine, request, body)

    async def chat(request: Request) -> Response:
        body = await read_body(ChatBody, request)
        require_model(body.model)
        return await answer_chat(engine, request, body)

    async def tokenize(request: Request) -> JSONResponse:
        body = await read_body(TokenizeBody, request)
        require_model(body.model)
        # a text is text; the name of a special token alone asks for its id, as lm-eval does
        special = tokenizer.special.get(body.prompt)
        ids = [special] if special is not None else await asyncio.to_thread(tokenizer.encode, body.prompt)
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": engine.max_tokens})

    async def detokenize(request: Request) -> JSONResponse:
        body = await read_body(DetokenizeBody, request)
        require_model(body.model)
        if any(token >= tokenizer.vocab_size for token in body.tokens):
            raise Refusal(400, f"tokens: the ids of this model are 0 to {tokenizer.vocab_size - 1}", "tokens")
        data = await asyncio.to_thread(lambda: b"".join(map(engine.data_of, body.tokens)))
        return JSONResponse({"prompt": data.decode(errors="replace")})

    async def tokenizer_info(request: Request) -> JSONResponse:
        info = {"tokenizer_class": "headwater", "vocab_size": tokenizer.vocab_size}
        markers = {"bos": tokenizer.begin_id, "eos": tokenizer.end_id, "pad": tokenizer.pad_id}
        return JSONResponse(
            info | {f"{name}_token": engine.data_of(token).decode(errors="replace") for name, token in markers.items()}
        )

    return [
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/tokenize", tokenize, methods=["POST"]),
        Route("/detokenize", detokenize, methods=["POST"]),
        Route("/tokenizer_info", tokenizer_info),
    ]


def _model(engine: Engine) -> dict[str, Any]:
    return {"id": engine.name, "object": "model", "created": 0, "owned_by": "headwater", "root": engine.name} | {
        "max_model_len": engine.max_tokens
    }
