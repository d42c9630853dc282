"""The playground: what models of the runs here expect next, write and are surprised by, and what their text says of it.

Prompts, model output and documents are text of anybody's: they go out as JSON alone, with what could steer a reader's
display as escapes, and the page's script puts them into text nodes. Text to write on or to add goes out as it is: the
page puts that into its text field alone.
"""

from __future__ import annotations

import codecs
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from headwater.charts.markup import asset
from headwater.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.host.memory import memory_bytes
from headwater.printable import printable
from headwater.serve.refusal import Refusal
from headwater.serve.requests import wrong_field
from headwater.serve.served import Served
from headwater.serve.summary import RunsFolder

if TYPE_CHECKING:
    from headwater.evaluate.generate import NextToken
    from headwater.library.model import Model

T = TypeVar("T")

MAX_CHARACTERS = 20_000  # of a text; of one in English about 5,000 tokens
MAX_FOUND_CHARACTERS = 500  # of a text to find
MAX_HITS = 20
MAX_CORPUS_BYTES = 2e9  # of documents: a search reads all of them, about 50 MB a second
MAX_MODELS = 3  # kept in memory: two side by side, and one before
MAX_MODELS_SHARE = 0.25  # of the machine's memory that kept models take together, where there are several
MAX_WORKERS = 2  # requests that compute at the same time; others wait


class Query(BaseModel):
    """A question to the model of one checkpoint."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: str = Field(max_length=255)
    step: int
    text: str = Field(max_length=MAX_CHARACTERS)
    temperature: float = Field(default=1.0, ge=0, le=5)
    seed: int = Field(default=0, ge=0, lt=2**31)
    k: int = Field(default=12, ge=1, le=100)
    max_tokens: int = Field(default=60, ge=1, le=500)


class TextQuery(BaseModel):
    """A question to the corpus of a run: what holds this text?"""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: str = Field(max_length=255)
    text: str = Field(min_length=1, max_length=MAX_FOUND_CHARACTERS)


AnyQuery = TypeVar("AnyQuery", Query, TextQuery)


class Models:
    """The models of the runs in a folder: loaded when one is first asked, the last few kept."""

    def __init__(self, runs: Path) -> None:
        self._runs, self._lock = RunsFolder(runs), threading.Lock()
        self._max_bytes = MAX_MODELS_SHARE * memory_bytes()
        self._kept: OrderedDict[tuple[str, int, int], Model] = OrderedDict()

    def steps(self) -> dict[str, list[int]]:
        """Return the steps of the checkpoints that each run keeps, newest first; runs without one are skipped."""
        kept = {name: [step for step, _ in list_checkpoints(path)] for name, path in self._runs.paths().items()}
        return {name: steps for name, steps in kept.items() if steps}

    def folder(self, run: str) -> Path:
        """Return the folder of a run that the list has: a name from outside never becomes a path."""
        try:
            return self._runs.paths()[run]
        except KeyError:
            raise Refusal(404, f"there is no run {run[:100]!a} here", "run") from None

    def get(self, run: str, step: int) -> Model:
        from headwater.library.model import Model

        folder = self.folder(run)
        if step not in {kept for kept, _ in list_checkpoints(folder)}:
            raise Refusal(404, f"{run} keeps no checkpoint of step {step}", "step")
        key = run, step, checkpoint_dir(folder, step).stat().st_mtime_ns  # a run that is made again has others
        with self._lock:  # one is loaded at a time
            if key not in self._kept:
                while len(self._kept) >= MAX_MODELS:
                    self._kept.popitem(last=False)
                self._kept[key] = Model.load(folder, step)
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(map(_num_bytes, self._kept.values())) > self._max_bytes:
                self._kept.popitem(last=False)
            return self._kept[key]


def _num_bytes(model: Model) -> int:
    return sum(parameter.nbytes for parameter in model.transformer.parameters())


class Playground:
    """The answers of the playground's routes; what computes does so in threads, a few at a time."""

    def __init__(self, runs: Path) -> None:
        self._models = Models(runs)
        self._workers: CapacityLimiter | None = None

    async def _compute(self, work: Callable[[], T]) -> T:
        if self._workers is None:  # made inside the loop that it belongs to
            self._workers = CapacityLimiter(MAX_WORKERS)
        return await to_thread.run_sync(work, limiter=self._workers)

    async def models(self, request: Request) -> JSONResponse:
        found = await self._compute(self._models.steps)
        runs = [{"run": run, "shown": printable(run), "steps": steps} for run, steps in found.items()]
        return JSONResponse({"runs": runs})

    async def next(self, request: Request) -> JSONResponse:
        query = await _read(request, Query)

        def work() -> list[dict[str, Any]]:
            model = self._models.get(query.run, query.step)
            return [_shown_token(model, each) for each in model.next(query.text, query.k, query.temperature)]

        return JSONResponse({"tokens": await self._compute(work)})

    async def surprise(self, request: Request) -> JSONResponse:
        query = await _read(request, Query)

        def work() -> dict[str, Any]:
            model = self._models.get(query.run, query.step)
            found = model.surprise(query.text)
            pieces = _whole_characters(model, query.text, [each.bits for each in found.tokens])
            tokens = [{"shown": printable(text, keep="\n\t"), "bits": bits} for text, bits in pieces]
            return {"bits_per_byte": found.bits_per_byte, "tokens": tokens}

        return JSONResponse(await self._compute(work))

    async def write(self, request: Request) -> StreamingResponse:
        """Stream what the model writes after a text, a line of JSON a token."""
        query = await _read(request, Query)
        model = await self._compute(partial(self._models.get, query.run, query.step))
        pieces = model.stream(query.text, query.max_tokens, query.temperature, seed=query.seed)

        async def lines() -> AsyncIterator[bytes]:
            while (piece := await self._compute(partial(next, pieces, None))) is not None:
                yield json.dumps({"text": piece.text, "end": piece.end}).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def trace(self, request: Request) -> JSONResponse:
        query = await _read(request, TextQuery)

        def work() -> dict[str, Any]:
            from headwater.library.corpus import Corpus

            corpus = Corpus(self._models.folder(query.run))
            if (num_bytes := sum(count.bytes for count in corpus.counts())) > MAX_CORPUS_BYTES:
                raise Refusal(
                    422,
                    f"the text has {num_bytes:,} bytes, too many to search while a page waits; "
                    f"`headwater corpus trace TEXT --run {query.run}` does it",
                )
            hits = list(islice(corpus.trace(query.text), MAX_HITS + 1))
            shown = [
                {"split": hit.split, "source": printable(hit.source), "id": printable(hit.id), "count": hit.count,
                 "excerpt": printable(hit.excerpt)}
                for hit in hits[:MAX_HITS]
            ]  # fmt: skip
            return {"hits": shown, "has_more": len(hits) > MAX_HITS}

        return JSONResponse(await self._compute(work))


def playground(served: Served) -> list[BaseRoute]:
    """Return the routes of the page and of what its script asks."""
    answers = Playground(served.runs)
    questions = {"next": answers.next, "surprise": answers.surprise, "write": answers.write, "trace": answers.trace}
    return [
        Route("/playground", _page),
        Route("/playground/models", answers.models),
        *(Route(f"/playground/{name}", answer, methods=["POST"]) for name, answer in questions.items()),
    ]


async def _page(request: Request) -> Response:
    return Response(asset("headwater.serve", "playground.html"), media_type="text/html")


async def _read(request: Request, kind: type[AnyQuery]) -> AnyQuery:
    """Return the question in a request; raise Refusal for another body, a text too long or no Unicode."""
    try:
        query = await to_thread.run_sync(kind.model_validate_json, await request.body())
    except ValidationError as error:
        where, message = wrong_field(error)
        raise Refusal(422, message, where) from None
    for name in query.model_extra or ():  # by hand: pydantic would write an error about each
        raise Refusal(422, f"{name[:100]!a}: there is no such field", name[:100])
    return query


def _whole_characters(model: Model, text: str, bits: list[float]) -> Iterator[tuple[str, float]]:
    """Yield the tokens of a text and their bits, those that only together are a character as one."""
    decoder, so_far = codecs.getincrementaldecoder("utf-8")(), 0.0
    piece = ""
    for token, more in zip(model.tokenizer.encode(text), bits, strict=True):
        piece, so_far = piece + decoder.decode(model.tokenizer.token_bytes(token)), so_far + more
        if not decoder.getstate()[0]:
            yield piece, so_far
            piece, so_far = "", 0.0


def _shown_token(model: Model, token: NextToken) -> dict[str, Any]:
    """Return a token as it is shown; `text` is what a click adds, None of one that is no text by itself."""
    is_text = token.token not in model.tokenizer.special and "\ufffd" not in token.token
    text = token.token if is_text else None
    return {"shown": printable(token.token), "text": text, "probability": token.probability}
