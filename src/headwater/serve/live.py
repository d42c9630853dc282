"""What the live page asks for, and the stream that tells it what is new."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from headwater.checkpoint.layout import DERIVED
from headwater.errors import HeadwaterError
from headwater.serve.following import SERIES, Cursor, FollowedRuns
from headwater.serve.refusal import Refusal
from headwater.serve.run_page import compared, run_page
from headwater.serve.summary import HEADS, RunsFolder

POLL_SECONDS, LIST_SECONDS, KEEP_ALIVE_SECONDS = 0.2, 1.0, 15.0
MAX_COMPARED = 12
MAX_POINTS_SENT = 5000
"More at once are no news: the page asks for its charts again."


class LivePage:
    """The routes of one folder of runs; reading and drawing happens in threads, so that streams go on meanwhile."""

    def __init__(self, folder: RunsFolder) -> None:
        self._folder, self._followed = folder, FollowedRuns()
        self._listed: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._finding = asyncio.Lock()  # a store is read through once at a time

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/runs", self.runs),
            Route("/api/run", self.run),
            Route("/api/compare", self.compare),
            Route("/api/documents", self.documents),
            Route("/api/stream", self.stream),
        ]

    async def runs(self, request: Request) -> Response:
        return JSONResponse({"folder": str(self._folder.folder), "heads": HEADS, "runs": await self._list()})

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
                return {"cursor": asdict(run.poll()), **run_page(run_dir, run, between)}

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
            from headwater.runs.run_config import config_of_run
            from headwater.runs.text import rows_of

            if (run_dir / DERIVED).exists():
                return {"problem": "this run learned from answers to prompts, not from documents"}
            try:
                return rows_of(config_of_run(run_dir)).of_step(int(step))
            except (HeadwaterError, OSError) as error:
                return {"problem": str(error)}

        async with self._finding:
            return await _answer(find)

    async def stream(self, request: Request) -> Response:
        """Send the list of runs and the new points of those named, until the page leaves."""
        names = dict.fromkeys(request.query_params.getlist("run"))
        folders = {name: self._folder.run_dir(name) for name in islice(names, 1 + MAX_COMPARED)}
        cursors = _cursors(request.headers.get("last-event-id") or request.query_params.get("since", ""), list(folders))
        is_ending = getattr(request.app.state, "is_ending", lambda: False)
        return StreamingResponse(self._news(folders, cursors, is_ending), media_type="text/event-stream")

    async def _news(
        self, folders: dict[str, Path], cursors: dict[str, Cursor], is_ending: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        sent, sent_at, listed_at = b"", time.monotonic(), 0.0
        while not is_ending():
            now, events = time.monotonic(), list[bytes]()
            if now - listed_at >= LIST_SECONDS:
                listed_at, listed = now, _json(await self._list())
                events += [_event("runs", listed)] if listed != sent else []
                sent = listed
            for name, run_dir in folders.items():
                news, cursors[name] = await run_in_threadpool(self._news_of, name, run_dir, cursors.get(name))
                events += [_event(*news, cursors)] if news is not None else []
            if events or now - sent_at >= KEEP_ALIVE_SECONDS:
                sent_at = now
                yield b"".join(events) or b": still here\n\n"
            await asyncio.sleep(POLL_SECONDS)

    def _news_of(self, name: str, run_dir: Path, shown: Cursor | None) -> tuple[tuple[str, bytes] | None, Cursor]:
        """Return an event of what is new after a cursor, None where nothing is, and the cursor after it."""
        run = self._followed.of(run_dir)
        with run.lock:
            cursor = run.poll()
            if shown is None or cursor == shown:
                return None, cursor
            first, news = shown.num_steps, {"run": name, "cursor": asdict(cursor)}
            is_longer = cursor.generation == shown.generation and cursor.num_events == shown.num_events
            if not is_longer or not 0 < cursor.num_steps - first <= MAX_POINTS_SENT:
                return ("changed", _json(news)), cursor
            curves = {series: run.curve(series, first) for series in SERIES}
            points = {name: {"x": [x for x, _ in curve], "y": [y for _, y in curve]} for name, curve in curves.items()}
            return ("points", _json(news | {"first": first, "points": points})), cursor

    async def _list(self) -> list[dict[str, Any]]:
        """Return the list of runs, read at most once in LIST_SECONDS for all pages together."""
        at, listed = self._listed
        if time.monotonic() - at >= LIST_SECONDS or not at:
            found = await run_in_threadpool(self._folder.summaries)
            listed = [
                {"name": run.name, "state": run.state, "last_step": run.step, "cells": run.cells} for run in found
            ]
            self._listed = (time.monotonic(), listed)
        return listed


def _event(kind: str, data: bytes, cursors: dict[str, Cursor] | None = None) -> bytes:
    """Return one event; its id says what was sent of every run, so that a page that lost touch goes on there."""
    lines = [f"event: {kind}".encode(), b"data: " + data]
    if cursors is not None:
        at = ",".join(f"{each.generation}:{each.num_steps}:{each.num_events}" for each in cursors.values())
        lines.append(f"id: {at}".encode())
    return b"\n".join([*lines, b"", b""])


def _cursors(text: str, names: list[str]) -> dict[str, Cursor]:
    """Return what a page says that it shows of each run, in their order; nothing of what can't be read."""
    found = {}
    for name, part in zip(names, text.split(","), strict=False):
        numbers = part.split(":")
        if len(numbers) == 3 and all(each.isdecimal() and len(each) < 16 for each in numbers):
            found[name] = Cursor(*map(int, numbers))
    return found


async def _answer(work: Callable[[], Any]) -> Response:
    """Return what `work` returns as JSON, both made in a thread."""
    return Response(await run_in_threadpool(lambda: _json(work())), media_type="application/json")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
