"""The page of documents: what became of each and why, its text before and after lines were cut, columns, tokens."""

from __future__ import annotations

from asyncio import Semaphore
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from headwater.core.manifests import is_unmade
from headwater.core.printable import printable
from headwater.page.serve.playground import RunQuestion
from headwater.page.serve.requests import read_body
from headwater.runfile.paths import Folders
from headwater.runs.summary import RunsFolder

T = TypeVar("T")

DOCUMENTS_A_PAGE = 25
MAX_CHARACTERS = 20_000  # of a document that is shown
MAX_TOKENS = 2_000


class ListQuestion(RunQuestion):
    """Which documents of a source: of a decision ("kept" or a reason), with this in their names."""

    source: str = Field(max_length=255)
    decision: str | None = Field(default=None, max_length=100)
    name: str = Field(default="", max_length=500)
    start: int = Field(default=0, ge=0)


class DocumentQuestion(RunQuestion):
    """One document, by its source, its slice and its place there."""

    source: str = Field(max_length=255)
    slice: int = Field(ge=0)
    record: int = Field(ge=0)


class DocumentPage:
    """The answers of the page's routes. Names and texts are anybody's: they go out as JSON, made harmless to read."""

    def __init__(self, runs: RunsFolder) -> None:
        self._runs, self._workers = runs, Semaphore(1)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/documents/runs", self.runs),
            Route("/documents/list", self.some, methods=["POST"]),
            Route("/documents/show", self.one, methods=["POST"]),
        ]

    async def _compute(self, work: Callable[[], T]) -> T:
        async with self._workers:
            return await run_in_threadpool(work)

    async def runs(self, request: Request) -> JSONResponse:
        def work() -> list[dict[str, Any]]:
            from headwater.corpus.load import list_sources

            found = []
            for run in self._runs.summaries():
                corpus = Folders(run.folder).corpus
                if not is_unmade(corpus):
                    found.append({"run": run.name, "shown": printable(run.name), "sources": list_sources(corpus)})
            return found

        return JSONResponse({"runs": await self._compute(work)})

    async def some(self, request: Request) -> JSONResponse:
        question = await read_body(ListQuestion, request)

        def work() -> dict[str, Any]:
            from headwater.corpus.decide.browse import documents, reasons_of

            corpus = self._corpus(question)
            place = question.decision, question.name, question.start, DOCUMENTS_A_PAGE + 1
            found = documents(corpus, question.source, *place)
            return {
                "decisions": reasons_of(corpus, question.source),
                "documents": [_shown(each) for each in found[:DOCUMENTS_A_PAGE]],
                "has_more": len(found) > DOCUMENTS_A_PAGE,
            }

        return JSONResponse(await self._compute(work))

    async def one(self, request: Request) -> JSONResponse:
        question = await read_body(DocumentQuestion, request)

        def work() -> dict[str, Any]:
            from headwater.corpus.decide.browse import document

            found = document(self._corpus(question), question.source, question.slice, question.record)
            trained_on = found["text"] if found["shortened"] is None else found["shortened"]
            return {
                **{name: printable(found[name]) for name in ("id", "origin")},
                "metadata": {printable(name): printable(value) for name, value in found["metadata"].items()},
                "columns": {name: _shown_value(value) for name, value in found["columns"].items()},
                "characters": len(found["text"]),
                "text": _shown_text(found["text"]),
                "shortened": None if found["shortened"] is None else _shown_text(found["shortened"]),
                "tokens": self._tokens(question, trained_on[:MAX_CHARACTERS]),
            }

        return JSONResponse(await self._compute(work))

    def _corpus(self, question: RunQuestion) -> Path:
        return Folders(self._runs.run_dir(question.run)).corpus

    def _tokens(self, question: RunQuestion, text: str) -> list[str] | None:
        """Return the tokens of a text; None where the run has no tokenizer yet."""
        folder = Folders(self._runs.run_dir(question.run)).tokenizer
        if is_unmade(folder):
            return None
        from headwater.tokens.tokenizer.tokenizer import Tokenizer

        tokenizer = Tokenizer.load(folder)
        ids = tokenizer.encode(text)[:MAX_TOKENS]
        return [printable(tokenizer.token_bytes(token).decode(errors="replace"), keep="\n\t") for token in ids]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _shown_text(text: str) -> str:
    return printable(text[:MAX_CHARACTERS], keep="\n\t")


def _shown_value(value: Any) -> Any:
    """Return a value of a column as JSON may hold it: a measure of a person's own may give infinity, or a date."""
    is_number = isinstance(value, (int, float)) and isfinite(value)
    return value if is_number else printable(str(value))
