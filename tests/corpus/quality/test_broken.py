from __future__ import annotations

import pytest

from headwater.corpus.quality.broken import Broken, above, below


def test_a_rule_that_is_kept_or_off_is_not_broken():
    assert below("few", 5, 5, "words") is None and below("few", 1, None, "words") is None
    assert above("many", 5, 5, "words") is None and above("many", 9, None, "words") is None


@pytest.mark.parametrize(
    ("value", "limit", "told"),
    [
        (2, 5, "words: 2, 5 at least"),
        (1999, 2000, "words: 1,999, 2,000 at least"),
        (0.3141, 0.5, "words: 0.31, 0.5 at least"),
        (0.49999, 0.5, "words: 0.49999, 0.5 at least"),
        (2.5, 3.0, "words: 2.5, 3 at least"),
    ],
)
def test_a_value_is_reported_with_as_many_digits_as_tell_it_from_its_limit(value, limit, told):
    assert below("few", value, limit, "words") == Broken("few", told)
