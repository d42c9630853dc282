from __future__ import annotations

from pathlib import Path

import pytest
from made_models import trained_tokenizer
from our_models import TEXTS, TOKENIZER_SIZE


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory) -> Path:
    """The folder of a tokenizer of headwater's own."""
    folder = tmp_path_factory.mktemp("exported") / "tokenizer"
    trained_tokenizer(folder, "".join(TEXTS) * 9, TOKENIZER_SIZE)
    return folder
