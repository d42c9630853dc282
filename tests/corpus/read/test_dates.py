"""Dates as they stand in pages and books, in ISO's form."""

from __future__ import annotations

import pytest

from headwater.corpus.read.dates import iso_date


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2015-06-01T00:00+02:00 (rev)", "2015-06-01"),
        (" 2015-06-01 ", "2015-06-01"),
        ("2015-06-01T00:00:00Z", "2015-06-01"),
        ("2004-5-6", "2004"),
        ("2004-05 (reprint)", "2004-05"),
        ("2004-13-45", "2004"),
        ("of 2004-05-06", "2004-05-06"),
        ("6 May 2004", ""),
        ("Thu, 25 Apr 2019 12:57:54 GMT", "2019-04-25"),
        ("25 Apr 2019 00:30:00 +0200", "2019-04-25"),
        ("Thu, 35 Apr 2019 12:57:54 GMT", ""),
        ("25 Apr 99999999999999999999 12:57:54 GMT", ""),
        ("12004-05-06", ""),
        ("2015-06-011", "2015-06"),
        ("1325376000", ""),
        ("", ""),
    ],
)
def test_a_date_is_found_in_what_stands_around_it_and_a_year_alone_counts(written, date):
    assert iso_date(written) == date
