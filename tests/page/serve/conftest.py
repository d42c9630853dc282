from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_server import CHROMIUM, QUIET, Opened, serving
from served_model import TEXT, small_model

from headwater.page.serve.app import make_app
from headwater.page.serve.engine import Engine
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer


@pytest.fixture(scope="package")
def tokenizer(tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("served") / "tokenizer"
    train_tokenizer({"text": [TEXT * 5]}, TokenizerSettings(vocab_size=320), folder, "", lambda line: None)
    return Tokenizer.load(folder)


@pytest.fixture(scope="package")
def model(tokenizer):
    return small_model(tokenizer)


@pytest.fixture(scope="package")
def engine(model, tokenizer):
    engine = Engine(model, tokenizer, "small", is_tuned=True)
    yield engine
    engine.close()


@pytest.fixture(scope="package")
def app(engine, tmp_path_factory):
    return make_app(tmp_path_factory.mktemp("runs"), engine)


@pytest.fixture(scope="module")
def address(app) -> Iterator[str]:
    with serving(app) as address:
        yield address


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
