"""What SQL finds among drawn keys, beside plain loops over dictionaries."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fractions import Fraction

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from duplicates_in_memory import jaccard, pairs_in_memory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.corpus.decide import duplicates
from headwater.corpus.measures.keys import Keys
from headwater.corpus.sources.rules import BoilerplateSettings
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.words import WordHasher

KEY = st.sampled_from([0, 1, 7, 2**63, 2**64 - 1])
NUMBERS = st.sets(st.integers(0, 80), min_size=1)
KEYS = pa.list_(pa.uint64())


def searched(search, *given, drop=frozenset(), result, **columns):
    """Run a search over documents with these columns, of which some are passed over; return the rows of a table."""
    with duckdb.connect() as connection:
        numbers = range(len(next(iter(columns.values()))))
        types = dict.fromkeys(("lines", "bands", "passages"), KEYS)
        of_all = {name: pa.array(values, types.get(name, pa.uint64())) for name, values in columns.items()}
        connection.register("keys", pa.table({"number": pa.array(numbers, pa.uint64()), **of_all}))
        rest = pa.table({"number": pa.array([each for each in numbers if each not in drop], pa.uint64())})
        connection.sql("from keys").create_view("all_keys")
        for name in ("passed", "compared", "kept"):
            connection.register(name, rest)
        search(connection, *given)
        return connection.sql(f"from {result}").fetchall()


@given(st.lists(st.tuples(KEY, KEY), min_size=1, max_size=60), NUMBERS)
@settings(max_examples=30, deadline=None)
def test_of_exact_copies_the_first_that_no_limit_drops_stays(digests, drop):
    high, low = zip(*digests)
    found = searched(duplicates.find_copies, True, drop=drop, result="copies", digest_high=high, digest_low=low)
    first = {}
    left = [(number, digest) for number, digest in enumerate(digests) if number not in drop]
    assert sorted(found) == [(n, first[d]) for n, d in left if first.setdefault(d, n) != n]


@given(st.lists(st.lists(KEY, min_size=3, max_size=3) | st.just([]), min_size=1, max_size=70), NUMBERS)
@example([[7, n, n] for n in range(60)], set())
@settings(max_examples=30, deadline=None)
def test_a_document_is_paired_with_the_first_16_of_its_group_and_the_one_before(bands, drop):
    own = pa.table({"number": [], "bands": [], "signature": []}, duplicates.OWN_SCHEMA)
    found = searched(duplicates.find_pairs, own, drop=drop, result="pairs", bands=bands)
    left = {number: keys for number, keys in enumerate(bands) if number not in drop}
    assert sorted(found) == sorted((one, other) for one, others in pairs_in_memory(left).items() for other in others)


@given(
    st.lists(st.tuples(st.sets(KEY), st.sampled_from([3, 9])), min_size=1, max_size=50), NUMBERS,
    st.integers(2, 12), st.floats(0.01, 1) | st.sampled_from([0.07, 0.3, 1.0]),
)  # fmt: skip
@example([({n % 7}, 9) for n in range(100)], set(), 2, 0.14)
@settings(max_examples=30, deadline=None)
def test_lines_are_common_by_number_and_share_of_their_sites_pages(pages, drop, min_pages, min_share):
    rule = BoilerplateSettings(min_pages=min_pages, min_share=min_share)
    # a key of a line is of its site
    lines = [[key ^ site for key in keys] for keys, site in pages]
    sites = [site if of_page else 0 for of_page, (_, site) in zip(lines, pages)]
    found = searched(
        duplicates.find_common_lines, rule, "kept", drop=drop, result="common_lines", lines=lines, site=sites
    )
    left = [number for number, of_page in enumerate(lines) if of_page and number not in drop]
    of_site = Counter(sites[number] for number in left)
    of_line = Counter((sites[number], key) for number in left for key in lines[number])
    share = Fraction(repr(min_share))
    common = {each for each, num in of_line.items() if num >= max(min_pages, math.ceil(share * of_site[each[0]]))}
    assert sorted(found) == sorted((n, key) for n in left for key in lines[n] if (sites[n], key) in common)


@given(st.lists(st.sets(KEY), min_size=1, max_size=30), NUMBERS)
@settings(max_examples=30, deadline=None)
def test_documents_share_a_passage_where_two_to_eight_have_it(passages, drop):
    found = searched(duplicates.find_shared_passages, drop=drop, result="sharing", passages=[*map(sorted, passages)])
    having = defaultdict(set)
    for number, keys in enumerate(passages):
        for key in keys if number not in drop else ():
            having[key].add(number)
    shared = [numbers for numbers in having.values() if 2 <= len(numbers) <= duplicates.MOST_SHARING]
    assert {number for (number,) in found} == set().union(*shared)


@given(st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_a_document_goes_where_an_earlier_one_that_stays_is_similar(drawn):
    pairs = sorted((max(pair), min(pair)) for pair in drawn if len(set(pair)) == 2)
    columns = np.array(sorted(set(pairs)), dtype=np.uint64).reshape(-1, 2).T
    later, first = duplicates.near_duplicates(*columns)
    dropped = dict(zip(later, first))
    for one in range(31):
        stay = [other for later, other in pairs if later == one and other not in dropped]
        assert dropped.get(one) == min(stay, default=None)


@pytest.mark.parametrize("count", [1, 8, 112, 400])
@pytest.mark.parametrize("least", [0.01, 0.5, 0.8, 1.0])
def test_signatures_settle_only_what_chance_contradicts_once_in_a_million(count, least):
    low, high = duplicates.settled_by(count, least)
    equal = Fraction(repr(least)) + (1 - Fraction(repr(least))) / 256
    chances = [math.comb(count, n) * equal**n * (1 - equal) ** (count - n) for n in range(count + 1)]
    million = Fraction(1, 10**6)
    assert sum(chances[: low + 1]) < million <= sum(chances[: low + 2])
    assert sum(chances[high:]) < million and (high == 0 or sum(chances[high - 1 :]) >= million)


@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.7, 0.8, 0.9]), st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_signatures_settle_no_pair_of_texts_otherwise_than_the_texts_do(seed, least, shingle_words):
    chance = np.random.default_rng(seed)
    words = [f"w{number}" for number in chance.integers(0, 3000, 600)]
    dedup = {"min_similarity": least, "shingle_words": shingle_words}
    table = {"sources": {"mine": {"builtin": "almanac"}}, "dedup": dedup}
    keys = Keys(CorpusSettings.model_validate(table))
    low, high = duplicates.settled_by(112, least)
    settled = Counter()
    for _ in range(25):
        # pairs on both sides of the threshold, and close to it
        changed = set(chance.integers(0, 600, int(300 * chance.random() ** 3)))
        copy = [f"c{at}" if at in changed else word for at, word in enumerate(words)]
        one, other = (np.frombuffer(keys.minhash_of(WordHasher().hash(each))[1], np.uint8) for each in (words, copy))
        equal, is_similar = int((one == other).sum()), jaccard(" ".join(words), " ".join(copy), shingle_words) >= least
        assert not (equal <= low and is_similar) and not (equal >= high and not is_similar), (equal, low, high)
        settled[equal <= low or equal >= high] += 1
    assert settled[True], "no pair was settled: the test tests nothing"
