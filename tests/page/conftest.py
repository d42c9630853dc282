from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_server import CHROMIUM, QUIET, Opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def opened(address: str, kind: type[Opened] = Opened, **settings: Any) -> Opened:
        contexts.append(browser.new_context(**settings))
        return kind(contexts[-1], address)

    yield opened
    for context in contexts:
        context.close()
