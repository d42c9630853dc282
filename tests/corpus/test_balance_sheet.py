from __future__ import annotations

import pytest

from headwater.corpus.balance import Balance


def balanced() -> Balance:
    balance = Balance(["books"])
    balance.read_("books", 2, 300)
    balance.keep_("books", 1, 100)
    balance.drop_("books", "too_short", 1, 200)
    balance.place_("books", "train", 90)
    return balance


def test_a_balanced_sheet_passes_and_has_the_promised_shape():
    balance = balanced()
    balance.check()
    assert balance.as_dict() == {
        "sources": {
            "books": {
                "read": {"documents": 2, "bytes": 300},
                "kept": {"documents": 1, "bytes": 100},
                "dropped": {"too_short": {"documents": 1, "bytes": 200}},
            }
        },
        "splits": {
            "train": {"books": {"documents": 1, "bytes": 90}},
            "validation": {"books": {"documents": 0, "bytes": 0}},
        },
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda balance: balance.read_("books", 1, 0),
        lambda balance: balance.read_("books", 0, 1),
        lambda balance: balance.drop_("books", "empty", 1, 0),
        lambda balance: balance.keep_("books", 0, 5),
        lambda balance: balance.place_("books", "train", 5),
    ],
)
def test_a_document_or_byte_that_is_missing_is_noticed(spoil):
    balance = balanced()
    spoil(balance)
    with pytest.raises(AssertionError, match="books"):
        balance.check()


def test_a_part_of_a_source_that_is_none_of_these_is_an_error():
    parts = Balance(["books", "papers"])
    parts.read_("papers", 1, 10)
    with pytest.raises(KeyError, match="papers"):
        balanced().merge_(parts.as_dict())
    with pytest.raises(KeyError, match="papers"):
        balanced().merge_({"sources": {}, "splits": parts.as_dict()["splits"]})


def test_what_is_written_of_a_balance_stays_as_it_was():
    balance = balanced()
    balance.drop_("books", "empty", 0, 0)
    written = balance.as_dict()
    assert list(written["sources"]["books"]["dropped"]) == ["empty", "too_short"]
    assert list(balance.sources["books"]["dropped"]) == ["too_short", "empty"], "writing changed the balance"
    balance.drop_("books", "too_short", 1, 7)
    balance.place_("books", "train", 5)
    assert written["sources"]["books"]["dropped"]["too_short"] == {"documents": 1, "bytes": 200}
    assert written["splits"]["train"]["books"] == {"documents": 1, "bytes": 90}


def test_a_part_cut_out_of_a_kept_document_balances_in_bytes():
    balance = Balance(["books"])
    balance.read_("books", 1, 300)
    balance.keep_("books", 1, 280)
    balance.drop_("books", "held_out_probe", 0, 20)
    balance.place_("books", "train", 280)
    balance.check()
