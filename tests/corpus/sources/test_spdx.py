from __future__ import annotations

from itertools import product

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.corpus.sources.settings import LicenceSettings
from headwater.corpus.sources.spdx import allowed_patterns, canonical, identifiers, is_allowed, is_expression


@pytest.mark.parametrize(("expression", "allow", "is_met"), rows("allowed"))
def test_an_expression_is_allowed_when_its_terms_can_be_met_by_what_is(expression, allow, is_met):
    assert is_allowed(expression, allowed_patterns(allow)) is is_met


@pytest.mark.parametrize("num_words", [1, 2, 3, 4])
def test_signs_and_names_in_any_order_are_an_expression_or_none(num_words):
    for words in product(["MIT", "or", "AND", "with", "(", ")", "x"], repeat=num_words):
        found = canonical(" ".join(words))
        assert found is None or "MIT" in words


LEAVES = st.sampled_from(["MIT", "ISC", "GPL-2.0-only", "MPL-2.0"])
TREES = st.recursive(LEAVES, lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner), max_leaves=8)


def written(tree):
    return tree if isinstance(tree, str) else f"({written(tree[0])} {tree[1]} {written(tree[2])})"


def holds(tree, allow):
    if isinstance(tree, str):
        return tree in allow
    left, sign, right = holds(tree[0], allow), tree[1], holds(tree[2], allow)
    return (left and right) if sign == "AND" else (left or right)


@given(TREES, st.sets(LEAVES))
def test_nested_expressions_mean_what_their_trees_do(tree, allow):
    assert is_expression(written(tree))
    assert is_allowed(written(tree), sorted(allow)) is holds(tree, allow)


@given(st.text(st.sampled_from("()MITANDORWH -+.1\n"), max_size=60))
def test_nothing_that_is_written_breaks_the_reader(text):
    is_allowed(text, ["MIT"])
    identifiers(text)
    if (found := canonical(text)) is not None:
        assert canonical(found) == found


NAMES = "MIT PD permissive unknown GPL-3.0 GPL-* BSD-3-Clause-Clear LicenseRef-ours Expat mit BUSL-1.1"


@pytest.mark.parametrize("name", NAMES.split())
def test_what_can_be_allowed(name):
    assert LicenceSettings(allow=[name]).allow == [name]


HINTS = {"MIT OR ISC": "no licence known", "Apache2": "did you mean Apache-2.0", "NotALicence": "no licence known"}


@pytest.mark.parametrize(("name", "hint"), HINTS.items())
def test_what_no_licence_is_called_is_refused_with_the_nearest(name, hint):
    with pytest.raises(ValidationError, match=hint):
        LicenceSettings(allow=[name])
