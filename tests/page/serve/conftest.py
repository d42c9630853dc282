from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_server import serving
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
