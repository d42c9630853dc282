from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_server import serving
from made_models import random_model, trained_tokenizer
from served_model import SEQ_LEN, TEXT

from headwater.page.serve.engine import GenerationEngine
from headwater.page.serve.serving import make_app
from headwater.tokens.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="package")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return trained_tokenizer(tmp_path_factory.mktemp("served") / "tokenizer", TEXT * 5)


@pytest.fixture(scope="package")
def model(tokenizer):
    return random_model(vocab_size=tokenizer.vocab_size, seq_len=SEQ_LEN, d_ff=48)


@pytest.fixture(scope="package")
def engine(model, tokenizer):
    engine = GenerationEngine(model, tokenizer, "small", is_tuned=True)
    yield engine
    engine.close()


@pytest.fixture(scope="package")
def app(engine, tmp_path_factory):
    return make_app(tmp_path_factory.mktemp("runs"), engine)


@pytest.fixture(scope="module")
def address(app) -> Iterator[str]:
    with serving(app) as address:
        yield address
