from __future__ import annotations

import random
import string

import pytest

from headwater.corpus.personal.secrets import is_sample


@pytest.mark.parametrize(
    "value",
    [
        "<password>",
        "${DB_PASSWORD_1}",
        "$API_KEY_2",
        "%(secret1)s",
        "{{ vault_token1 }}",
        "your-password1",
        "yourApiKey1",
        "changeme123",
        "ChangeMe1!",
        "password1",
        "test-token-1",
        "TestPassword1",
        "xxxxxxxx1",
        "sk-xxxxxxxx1234",
        "***1***",
        "abcdef123456",
        "qwerty123456",
        "example_key_1",
        "access_token_v2",
        "YOUR_API_KEY_1",
        "get_token(1)",
        "[a-z0-9]{8}",
        r"\x00abc123",
    ],
)
def test_what_stands_where_a_secret_would(value):
    assert is_sample(value)


@pytest.mark.parametrize(
    "value",
    [
        "hunter2Secret!xx",
        "tiger-Test-Lamp77",
        "Zk39fjQw22xA",
        "myT0ken!rq7",
        "wJal/XUtnFEMI+K7MDENG",
        "blue-horse-42-run",
        "correct1horse2battery",
        "3f9a8b7c6d5e4f3a",
        "Пароль2024",
        "密码1234",
    ],
)
def test_what_somebody_may_use_though_it_has_such_a_word_in_it(value):
    assert not is_sample(value)


def test_of_chance_almost_nothing_is_a_sample():
    rng = random.Random(0)
    drawn = ["".join(rng.choices(string.ascii_letters + string.digits + "-_", k=14)) for _ in range(5000)]
    samples = [value for value in drawn if is_sample(value)]
    assert len(samples) <= 10, samples
