from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.core.errors import TokenizerError
from headwater.core.manifests import is_current
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.train import sample_parts, train_tokenizer

TEXTS = {
    "b": ["The river rises at its headwater and the river ends. " * 4, "A mill stands by the river. " * 3],
    "a": ["for i in range(10):\n    print(i)\n" * 5],
}

TRAIN_IN_A_NEW_PROCESS = """
import sys
from pathlib import Path
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.train import train_tokenizer
texts = {"a": ["the cat sat on the mat, and that was that. " * 9], "b": ["die Katze sitzt auf der Matte. " * 9]}
train_tokenizer(texts, TokenizerSettings(vocab_size=320), Path(sys.argv[1]), "key", lambda line: None)
"""


def train(texts, out_dir, **changes):
    settings = TokenizerSettings(**({"vocab_size": 320} | changes))
    return train_tokenizer(texts, settings, out_dir, "key", lambda line: None)


def test_processes_with_other_thread_counts_and_hash_seeds_write_the_same_bytes(tmp_path):
    digests = set()
    for threads in ("1", "2"):
        environment = os.environ | {
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": threads,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        subprocess.run([sys.executable, "-c", TRAIN_IN_A_NEW_PROCESS, tmp_path / threads], env=environment, check=True)
        digests.add(hashlib.sha256((tmp_path / threads / "tokenizer.json").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_manifest_names_key_digest_and_fit(tmp_path):
    manifest = train(TEXTS, tmp_path / "out")
    data = (tmp_path / "out" / "tokenizer.json").read_bytes()
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    assert set(manifest["bytes_per_token"]) == {"a", "b"}
    assert manifest["trained_on_bytes"]["a"] == len(TEXTS["a"][0])
    assert is_current(tmp_path / "out", "key")


def test_a_vocabulary_that_the_text_cannot_fill_names_one_that_fits(tmp_path):
    with pytest.raises(
        TokenizerError, match=r"vocab_size=8192 is more than .* set tokenizer.vocab_size=(\d+)"
    ) as caught:
        train(TEXTS, tmp_path / "out", vocab_size=8192)
    fits = int(str(caught.value).rpartition("vocab_size=")[2].split()[0])
    assert not (tmp_path / "out").exists()
    assert train(TEXTS, tmp_path / "out", vocab_size=fits)["vocab_size"] == fits


def test_a_vocabulary_too_small_for_the_bytes_is_a_wrong_setting():
    with pytest.raises(ValidationError, match="greater than or equal to 288"):
        TokenizerSettings(vocab_size=256)


@given(st.lists(st.text("abc \n", max_size=30), max_size=20), st.integers(1, 200), st.randoms())
def test_a_sample_keeps_to_its_size_and_ignores_the_order(texts, max_bytes, random):
    sample = sample_parts(texts, max_bytes)
    random.shuffle(texts)
    assert sample_parts(texts, max_bytes) == sample
    assert sum(map(len, sample)) <= max_bytes
    if sum(map(len, texts)) <= max_bytes:
        assert sorted(sample) == sorted(text for text in texts if text)
