"""What the live page asks for, again and again: the list of runs, and of those that it shows what has changed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from headwater.core.errors import HeadwaterError
from headwater.core.manifests import is_unmade
from headwater.core.printable import printable
from headwater.page.picture.blocks import shown
from headwater.page.picture.charts_of_run import overlaid
from headwater.page.picture.picture import picture_of
from headwater.page.serve.guard import Refusal
from headwater.page.serve.playground import RunQuestion
from headwater.page.serve.requests import question_route
from headwater.runfile.paths import Folders, RunFolder
from headwater.runs.run_data import History, points, read_run
from headwater.runs.summary import HEADS, RunsFolder
from headwater.train.checkpoint.layout import DERIVED

LIST_SECONDS, LIST_REST = 0.2, 10  # at least, and times what reading the list takes
MAX_COMPARED = 12
MAX_STEPS_IN_MEMORY = 2_000_000
"Of all runs together, at 88 bytes each; those that nobody asked for lately are read again when somebody does."
LOSS_NOTE = "The mean of ±5 % of the steps. Of runs with different tokenizers only bits per byte can be compared."
SCORE_NOTE = "Of each run's held-out text, mostly a sample of it, during training."


class FollowedRun:
    """A run that is on some page: what was read of it stays."""

    def __init__(self, run_dir: Path) -> None:
        self.here, self.log, self.lock = RunFolder(run_dir), History(run_dir / "records.jsonl"), threading.Lock()

    def picture(self, between: tuple[float, float] | None) -> dict[str, Any]:
        with self.lock:  # another thread may be reading on
            self.log.poll()
            return picture_of(read_run(self.here.run, self.here, self.log), between)


class FollowedRuns:
    """The runs that are on some page, by folder."""

    def __init__(self) -> None:
        self._runs: dict[Path, FollowedRun] = {}
        self._lock = threading.Lock()

    def of(self, run_dir: Path) -> FollowedRun:
        with self._lock:
            run = self._runs.pop(run_dir, None) or FollowedRun(run_dir)
            num_steps = sum(each.log.num_steps for each in self._runs.values())
            while self._runs and num_steps > MAX_STEPS_IN_MEMORY:
                oldest = next(iter(self._runs))
                num_steps -= self._runs.pop(oldest).log.num_steps
            self._runs[run_dir] = run  # the last one asked for is the last to go
        return run


def compared(runs: dict[str, FollowedRun], more_notes: list[str]) -> dict[str, Any]:
    """Return the loss of several runs laid over each other, their bits per byte on held-out text, and notes."""
    losses, scores, notes = {}, {}, []
    for name, run in runs.items():
        with run.lock:
            run.log.poll()
            losses[name] = run.log.curve("loss")
            scores[name] = points(run.log.events.get("validation", []), "tokens_seen", "bits_per_byte", "all")
            if not losses[name]:
                why = "is trained by rewards and has no loss" if run.log.num_steps else "has no loss yet"
                notes.append(f"{name} {why}")
    charts = {
        "held_out": overlaid("Bits per byte", SCORE_NOTE, scores, "bits per byte"),
        "loss": overlaid("Loss", LOSS_NOTE, losses, "nats per token", smoothed=True),
    }
    found = [chart | {"key": key} for key, chart in charts.items() if chart]
    return shown({"charts": found, "notes": [*notes, *more_notes]})


class LivePage:
    """The routes of one folder of runs; reading and drawing happens in threads, so that others are answered, too."""

    def __init__(self, folder: RunsFolder) -> None:
        self._folder, self._followed = folder, FollowedRuns()
        self._listed: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._finding = asyncio.Lock()  # a store is read through once at a time

    def routes(self) -> list[BaseRoute]:
        answers = {"runs": self.runs, "run": self.run, "compare": self.compare, "documents": self.documents}
        smaller = [Middleware(GZipMiddleware, compresslevel=5)]  # the picture of a long run is most of a megabyte
        return [Route(f"/api/{name}", answer, middleware=smaller) for name, answer in answers.items()]

    async def runs(self, request: Request) -> Response:
        """Answer with the list, read at most once in LIST_SECONDS for all pages together, of many runs less often."""
        rests_until, listed = self._listed
        if (began := time.monotonic()) >= rests_until:
            found = await run_in_threadpool(self._folder.summaries)
            listed = [
                {
                    "name": run.name,
                    "state": run.state,
                    "last_step": run.step,
                    "version": run.version,
                    "cells": run.cells,
                    "damage": run.damage,
                }
                for run in found
            ]
            ended = time.monotonic()
            self._listed = (ended + max(LIST_SECONDS, LIST_REST * (ended - began)), listed)
        return _json({"folder": str(self._folder.folder), "heads": HEADS, "runs": listed})

    async def run(self, request: Request) -> Response:
        """Answer with the picture of a run; `from` and `to` are tokens seen, of a part of its charts."""
        query, run_dir = request.query_params, self._folder.run_dir(request.query_params.get("run", ""))
        try:
            between = (float(query["from"]), float(query["to"])) if "from" in query and "to" in query else None
        except ValueError:
            raise Refusal(400, "from and to are numbers of tokens", "from") from None

        return await _answer(lambda: self._followed.of(run_dir).picture(between))

    async def compare(self, request: Request) -> Response:
        """Answer with charts of several runs laid over each other, and with notes of those that they don't show."""
        names = request.query_params.getlist("run")
        runs = {name: self._followed.of(self._folder.run_dir(name)) for name in names[:MAX_COMPARED]}
        beyond = [f"{name} is one too many: {MAX_COMPARED} runs are compared" for name in names[MAX_COMPARED:]]
        return await _answer(lambda: compared(runs, beyond))

    async def documents(self, request: Request) -> Response:
        """Answer with what the sequences of a step hold, or with `problem`: why that isn't known here."""
        run_dir, step = self._folder.run_dir(request.query_params.get("run", "")), request.query_params.get("step", "")
        if not step.isdecimal() or len(step) > 12:
            raise Refusal(400, "give a step, from 1", "step")

        def find() -> Any:
            from headwater.runfile.run_config import config_of_run
            from headwater.runs.stages import rows_of

            if (run_dir / DERIVED).exists():
                return {"problem": "this run learned from answers to prompts, not from documents"}
            try:
                return rows_of(config_of_run(run_dir)).of_step(int(step))
            except (HeadwaterError, OSError) as error:
                return {"problem": str(error)}

        async with self._finding:
            return await _answer(find)


async def _answer(work: Callable[[], Any]) -> Response:
    """Return what `work` returns as JSON, both made in a thread."""
    return await run_in_threadpool(lambda: _json(work()))


def _json(value: Any) -> Response:
    """Return an answer in ASCII: a name or a text may hold half of a surrogate pair, which UTF-8 doesn't have."""
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")), media_type="application/json")


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
        self._runs, self._workers = runs, asyncio.Semaphore(1)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/documents/runs", self.runs),
            question_route("/documents/list", ListQuestion, self.some, self._workers),
            question_route("/documents/show", DocumentQuestion, self.one, self._workers),
        ]

    async def runs(self, request: Request) -> JSONResponse:
        async with self._workers:
            return JSONResponse({"runs": await run_in_threadpool(self._with_corpus)})

    def _with_corpus(self) -> list[dict[str, Any]]:
        from headwater.corpus.load import list_sources

        corpora = {run.name: Folders(run.folder).corpus for run in self._runs.summaries()}
        return [
            {"run": name, "shown": printable(name), "sources": list_sources(corpus)}
            for name, corpus in corpora.items()
            if not is_unmade(corpus)
        ]

    def some(self, question: ListQuestion) -> dict[str, Any]:
        from headwater.corpus.decide.browse import documents, reasons_of

        corpus, place = self._corpus(question), (question.decision, question.name, question.start, DOCUMENTS_A_PAGE + 1)
        found = documents(corpus, question.source, *place)
        return {
            "decisions": reasons_of(corpus, question.source),
            "documents": [_shown(each) for each in found[:DOCUMENTS_A_PAGE]],
            "has_more": len(found) > DOCUMENTS_A_PAGE,
        }

    def one(self, question: DocumentQuestion) -> dict[str, Any]:
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
