"""The paths of OpenAI's interface, and of vLLM's for tokens, which lm-eval asks."""

from __future__ import annotations

from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from headwater.page.serve.completions import answer_chat, answer_completion
from headwater.page.serve.engine import GenerationEngine
from headwater.page.serve.guard import Refusal
from headwater.page.serve.requests import ChatBody, CompletionBody, DetokenizeBody, ModelBody, TokenizeBody, read_body

AnyModelBody = TypeVar("AnyModelBody", bound=ModelBody)


class OpenAI:
    """The routes behind which a model answers."""

    def __init__(self, engine: GenerationEngine) -> None:
        self._engine, self._tokenizer = engine, engine.tokenizer

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/tokenizer_info", self.tokenizer_info),
        ]

    async def models(self, request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [self._facts()]})

    async def model(self, request: Request) -> JSONResponse:
        self._require_model(request.path_params["name"])
        return JSONResponse(self._facts())

    async def completions(self, request: Request) -> Response:
        return await answer_completion(self._engine, request, await self._read(CompletionBody, request))

    async def chat(self, request: Request) -> Response:
        return await answer_chat(self._engine, request, await self._read(ChatBody, request))

    async def tokenize(self, request: Request) -> JSONResponse:
        text = (await self._read(TokenizeBody, request)).prompt
        # a text is text; the name of a special token alone asks for its id, as lm-eval does
        special = self._tokenizer.special.get(text)
        ids = [special] if special is not None else await run_in_threadpool(self._tokenizer.encode, text)
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": self._engine.max_tokens})

    async def detokenize(self, request: Request) -> JSONResponse:
        tokens, most = (await self._read(DetokenizeBody, request)).tokens, self._tokenizer.vocab_size - 1
        if any(token > most for token in tokens):
            raise Refusal(400, f"tokens: the ids of this model are 0 to {most}", "tokens")
        return JSONResponse({"prompt": await run_in_threadpool(self._text_of, tokens)})

    async def tokenizer_info(self, request: Request) -> JSONResponse:
        tokenizer = self._tokenizer
        markers = {"bos": tokenizer.begin_id, "eos": tokenizer.end_id, "pad": tokenizer.pad_id}
        names = {f"{name}_token": self._text_of([token]) for name, token in markers.items()}
        return JSONResponse({"tokenizer_class": "headwater", "vocab_size": tokenizer.vocab_size} | names)

    async def _read(self, kind: type[AnyModelBody], request: Request) -> AnyModelBody:
        body = await read_body(kind, request)
        self._require_model(body.model)
        return body

    def _require_model(self, name: str | None) -> None:
        if name not in (None, self._engine.name):
            raise Refusal(404, f"there is no model {name[:200]!a} here; this one is {self._engine.name}", "model")

    def _text_of(self, tokens: list[int]) -> str:
        return b"".join(map(self._engine.data_of, tokens)).decode(errors="replace")

    def _facts(self) -> dict[str, Any]:
        name = self._engine.name
        facts = {"id": name, "object": "model", "created": 0, "owned_by": "headwater", "root": name}
        return facts | {"max_model_len": self._engine.max_tokens}
