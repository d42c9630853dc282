"""The reason why torch compiles nothing, as one line."""

from __future__ import annotations

import pytest

from headwater.machine.device.compiler import telling_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("InvalidCxxCompiler: none", "InvalidCxxCompiler: none"),
        ("backend='inductor' raised:\nInvalidCxxCompiler: none\n\nSet X for more", "InvalidCxxCompiler: none"),
        ("\n\n", "RuntimeError"),
        ("raised:", "RuntimeError"),
    ],
)
def test_the_line_of_an_error_that_tells_most(text, line):
    assert telling_line(RuntimeError(text)) == line
