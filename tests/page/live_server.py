"""A server in a thread, and a page in a browser's tab that remembers what went wrong in it."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from headwater.page.serve.guard import make_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve until the block ends; yield the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


class Opened:
    """A page in a tab, with what it asked of the network and what went wrong in it."""

    ready = "html[data-listed]"

    def __init__(self, context: Any, address: str) -> None:
        context.set_default_timeout(120_000)  # of a machine that is busy with other tests
        self.tab, self.address = context.new_page(), address
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        self.tab.goto(address)
        self.tab.wait_for_selector(self.ready)

    def until(self, expression: str) -> None:
        """Wait until an expression holds; the page's policy forbids what wait_for_function needs."""
        self.wait_for(lambda: self.tab.evaluate(expression), expression)

    def wait_for(self, holds: Callable[[], Any], what: str = "", seconds: float = 60) -> None:
        ends_at = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends_at, (
                f"not within {seconds:g} s: {what}; the page has {len(self.points())} points"
            )
            self.tab.wait_for_timeout(50)

    def require_usable(self, width: int) -> None:
        """Check that axe finds nothing, and that nothing is wider than the screen."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
        found = axe.run(self.tab)
        assert found.violations_count == 0, found.generate_report()
        assert self.tab.evaluate("document.documentElement.scrollWidth") <= width
        assert self.errors == []

    def points(self, chart: str = "loss", trace: str = "each step", within: str = "#run") -> list[list[float]]:
        """Return the points of a trace as plotly has drawn them; none before it is drawn."""
        found = self.tab.evaluate(
            """([within, chart, name]) => {
                const place = document.querySelector(`${within} [data-chart="${chart}"] .plot`);
                const trace = (place?.data ?? []).find((each) => each.name === name);
                return trace ? trace.x.map((x, at) => [x, trace.y[at]]) : [];
            }""",
            [within, chart, trace],
        )
        return [list(pair) for pair in found]

    @property
    def foreign_requests(self) -> list[str]:
        server = self.address.rpartition("/")[0]
        return [url for url in self.requests if not url.startswith((server, "data:"))]
