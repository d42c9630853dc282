"""Where passwords stand in addresses of servers, SCHEME://USER:PASSWORD@HOST: of any length and any letters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headwater.corpus.protect.sample_values import is_sample
from headwater.corpus.protect.spans import Span

# behind a port stands no password: http://HOST:80/@NAME; one with a @ in it ends at the last before the host
_IN_ADDRESS = re.compile(
    r"://[^\s:/<>\"']{0,64}:(?!\d{1,5}/)([^\s@<>\"']{1,128}(?:@[^\s/@:,?<>\"']{1,64}(?=@)){0,2})@(?=[\w\[.-])"
)


def server_passwords(text: str) -> Iterator[tuple[Span, bool]]:
    """Yield where what stands for a password in an address stands, and whether it is one: no sample, no single letter.

    With a slash in it, which belongs into no address as it is, it is taken for one only where it has a digit.
    """
    if "://" not in text:
        return
    for match in _IN_ADDRESS.finditer(text):
        value = match.group(1)
        if "/" not in value:
            yield match.span(1), len(value) > 1 and not is_sample(value)
        elif any(map(str.isdigit, value)) and "://" not in value and not is_sample(value):
            yield match.span(1), True
