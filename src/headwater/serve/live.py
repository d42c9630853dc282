"""The live page: what it is made of, what it asks for, and the stream that tells it what is new."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from headwater.errors import HeadwaterError
from headwater.serve.following import SERIES, Cursor, FollowedRun, FollowedRuns
from headwater.serve.refusal import Refusal
from headwater.serve.run_page import compared, run_page
from headwater.serve.served import Served
from headwater.serve.summary import RunsFolder

POLL_SECONDS, LIST_SECONDS, KEEP_ALIVE_SECONDS = 0.2, 1.0, 15.0
MAX_COMPARED = 12
MAX_POINTS_SENT = 5000
"More at once are no news: the page asks for its charts again."
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
ASSETS = ("headwater.serve", "headwater.charts")
NO_DOCUMENTS = "this server was started without what finds a run's text"


class LivePage:
    """The routes of one folder of runs; reading and drawing happens in threads, so that streams go on meanwhile."""

    def __init__(self, folder: Path, documents: Callable[[Path, int], Any] | None) -> None:
        self._folder, self._followed, self._documents = RunsFolder(folder), FollowedRuns(), documents
        self._listed: tuple[float, list[dict[str, Any]]] = (0.0, [])
        self._finding = asyncio.Lock()  # a store is read through once at a time

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.page),
            Route("/static/{name}", self.static),
            Route("/api/runs", self.runs),
            Route("/api/run", self.run),
            Route("/api/compare", self.compare),
            Route("/api/documents", self.documents),
            Route("/api/stream", self.stream),
        ]

    async def page(self, request: Request) -> Response:
        return Response(_asset("live.html")[0], media_type="text/html")

    async def static(self, request: Request) -> Response:
        """Answer with a file of the page, plotly's script among them; a browser asks once for each version."""
        name = request.path_params["name"]
        try:
            packed, tag = await run_in_threadpool(_packed, name)
        except FileNotFoundError:
            raise Refusal(404, f"the page has no file {name[:100]!a}") from None
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Encoding": "gzip"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(packed, media_type=TYPES[Path(name).suffix], headers=headers)

    async def runs(self, request: Request) -> Response:
        return JSONResponse({"folder": str(self._folder.folder), "runs": await self._list()})

    async def run(self, request: Request) -> Response:
        """Answer with everything that is shown of a run; `from` and `to` are tokens seen, of a part of its charts."""
        name, limits = request.query_params.get("name", ""), [request.query_params.get(end) for end in ("from", "to")]
        run_dir = self._run_dir(name)
        try:
            between = None if None in limits else (float(str(limits[0])), float(str(limits[1])))
        except ValueError:
            raise Refusal(400, "from and to are numbers of tokens") from None

        def made() -> bytes:
            run = self._followed.of(run_dir)
            with run.lock:
                cursor = run.poll()
                return _json({"name": name, "cursor": asdict(cursor), **run_page(run_dir, run, between)})

        return Response(await run_in_threadpool(made), media_type="application/json")

    async def compare(self, request: Request) -> Response:
        names = request.query_params.getlist("name")[:MAX_COMPARED]
        folders = {name: self._run_dir(name) for name in names}

        def made() -> bytes:
            runs = {name: self._followed.of(run_dir) for name, run_dir in folders.items()}
            return _json({"charts": {key: asdict(chart) for key, chart in compared(runs).items()}})

        return Response(await run_in_threadpool(made), media_type="application/json")

    async def documents(self, request: Request) -> Response:
        """Answer with what the sequences of a step hold, or with `problem`: why that isn't known here."""
        run_dir, step = self._run_dir(request.query_params.get("name", "")), request.query_params.get("step", "")
        if self._documents is None or not step.isdecimal() or len(step) > 12:
            return JSONResponse({"problem": "give a step, from 1" if self._documents else NO_DOCUMENTS})
        async with self._finding:
            try:
                found = await run_in_threadpool(self._documents, run_dir, int(step))
            except (HeadwaterError, OSError) as error:
                found = {"problem": str(error)}
        return Response(_json(found), media_type="application/json")

    async def stream(self, request: Request) -> Response:
        """Send the list of runs and the new points of those named, until the page leaves."""
        names = list(dict.fromkeys(request.query_params.getlist("name")))[:MAX_COMPARED]
        folders = {name: self._run_dir(name) for name in names}
        cursors = _cursors(request.headers.get("last-event-id") or request.query_params.get("since", ""), names)
        is_ending = getattr(request.app.state, "is_ending", lambda: False)
        return StreamingResponse(self._news(folders, cursors, is_ending), media_type="text/event-stream")

    async def _news(
        self, folders: dict[str, Path], cursors: dict[str, Cursor], is_ending: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        sent, said_at, listed_at = b"", time.monotonic(), 0.0
        while not is_ending():
            now, events = time.monotonic(), list[bytes]()
            if now - listed_at >= LIST_SECONDS:
                listed_at, listed = now, _json(await self._list())
                events += [_event("runs", listed)] if listed != sent else []
                sent = listed
            for name, run_dir in folders.items():
                news, cursors[name] = await run_in_threadpool(self._news_of, run_dir, cursors.get(name))
                events += [_event(*news, name, cursors)] if news is not None else []
            if events or now - said_at >= KEEP_ALIVE_SECONDS:
                said_at = now
                yield b"".join(events) or b": still here\n\n"
            await asyncio.sleep(POLL_SECONDS)

    def _news_of(self, run_dir: Path, shown: Cursor | None) -> tuple[tuple[str, bytes] | None, Cursor]:
        """Return an event of what is new after a cursor, None where nothing is, and the cursor after it."""
        run = self._followed.of(run_dir)
        with run.lock:
            cursor = run.poll()
            if shown is None or cursor == shown:
                return None, cursor
            is_longer = cursor.generation == shown.generation and cursor.num_events == shown.num_events
            if is_longer and 0 < cursor.num_steps - shown.num_steps <= MAX_POINTS_SENT:
                return ("points", _json(_points_after(run, shown.num_steps, cursor))), cursor
            return ("changed", _json({"cursor": asdict(cursor)})), cursor

    async def _list(self) -> list[dict[str, Any]]:
        """Return the list of runs, read at most once in LIST_SECONDS for all pages together."""
        at, listed = self._listed
        if time.monotonic() - at >= LIST_SECONDS or not at:
            found = await run_in_threadpool(self._folder.summaries)
            listed = [summary.as_json() for summary in found]
            self._listed = (time.monotonic(), listed)
        return listed

    def _run_dir(self, name: str) -> Path:
        """Return the folder of a run that the list has: a name from outside never becomes a path."""
        try:
            return self._folder.paths()[name]
        except KeyError:
            raise Refusal(404, f"there is no run {name[:100]!a} in {self._folder.folder}") from None


def live(served: Served) -> list[BaseRoute]:
    return LivePage(served.runs, served.documents).routes()


def _points_after(run: FollowedRun, first: int, cursor: Cursor) -> dict[str, Any]:
    points = {}
    for series in SERIES:
        curve = run.curve(series, first)
        points[series] = {"x": [x for x, _ in curve], "y": [y for _, y in curve]}
    return {"first": first, "cursor": asdict(cursor), "step": run.columns["step"][-1], "points": points}


def _event(kind: str, data: bytes, name: str | None = None, cursors: dict[str, Cursor] | None = None) -> bytes:
    """Return one event; its id says what was sent of every run, so that a page that lost touch goes on there."""
    lines = [f"event: {kind}".encode()]
    if cursors is not None:
        data = b'{"name":' + _json(name) + b"," + data[1:]
        at = ",".join(f"{each.generation}:{each.num_steps}:{each.num_events}" for each in cursors.values())
        lines.append(f"id: {at}".encode())
    return b"\n".join([*lines, b"data: " + data, b"", b""])


def _cursors(text: str, names: list[str]) -> dict[str, Cursor]:
    """Return what a page says that it shows of each run, in their order; nothing of what can't be read."""
    found = {}
    for name, part in zip(names, text.split(","), strict=False):
        numbers = part.split(":")
        if len(numbers) == 3 and all(each.isdecimal() and len(each) < 16 for each in numbers):
            found[name] = Cursor(*map(int, numbers))
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def _asset(name: str) -> tuple[bytes, str]:
    """Return a file of the page and its tag; raise FileNotFoundError for what is none."""
    if name == "plotly.js":
        from plotly.offline import get_plotlyjs  # half a second, and not before a page wants it

        data = get_plotlyjs().encode()
    else:
        folders = [resources.files(package) / "assets" for package in ASSETS]
        known = {path.name: path for folder in folders for path in folder.iterdir() if Path(path.name).suffix in TYPES}
        if name not in known:
            raise FileNotFoundError(name)
        data = known[name].read_bytes()
    return data, f'"{sha256(data).hexdigest()[:16]}"'


@cache
def _packed(name: str) -> tuple[bytes, str]:
    data, tag = _asset(name)
    return gzip.compress(data, mtime=0), tag
