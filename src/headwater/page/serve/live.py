"""What the live page asks for, again and again: the list of runs, and of those that it shows what has changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headwater.core.errors import HeadwaterError
from headwater.page.serve.following import FollowedRuns
from headwater.page.serve.refusal import Refusal
from headwater.page.serve.run_page import compared, run_page
from headwater.page.serve.summary import HEADS, RunsFolder
from headwater.train.checkpoint.layout import DERIVED

LIST_SECONDS, LIST_REST = 0.2, 10  # at least, and times what reading the list takes
MAX_COMPARED = 12


class LivePage:
    """The routes of one folder of runs; reading and drawing happens in threads, so that others are answered, too."""

    def __init__(self, folder: RunsFolder) -> None:
        self._folder, self._followed = folder, FollowedRuns()
        self._listed: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._finding = asyncio.Lock()  # a store is read through once at a time

    def routes(self) -> list[BaseRoute]:
        answers = {"runs": self.runs, "run": self.run, "compare": self.compare, "documents": self.documents}
        return [Route(f"/api/{name}", answer) for name, answer in answers.items()]

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
                }
                for run in found
            ]
            ended = time.monotonic()
            self._listed = (ended + max(LIST_SECONDS, LIST_REST * (ended - began)), listed)
        return _json({"folder": str(self._folder.folder), "heads": HEADS, "runs": listed})

    async def run(self, request: Request) -> Response:
        """Answer with everything that is shown of a run; `from` and `to` are tokens seen, of a part of its charts."""
        query, run_dir = request.query_params, self._folder.run_dir(request.query_params.get("run", ""))
        try:
            between = (float(query["from"]), float(query["to"])) if "from" in query and "to" in query else None
        except ValueError:
            raise Refusal(400, "from and to are numbers of tokens", "from") from None

        def page() -> Any:
            run = self._followed.of(run_dir)
            with run.lock:
                run.poll()
                return run_page(run_dir, run, between)

        return await _answer(page)

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
            from headwater.runs.text import rows_of

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
