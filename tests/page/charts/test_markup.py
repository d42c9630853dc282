from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.printable import printable
from headwater.page.charts.markup import Html, chart_text, data_block, tag


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_any_text_and_attribute_comes_back_as_text_and_makes_no_element(text):
    reader = Texts()
    reader.feed(tag("p", "(", text, ")", title=text))
    assert reader.tags == ["p"]
    shown = printable(text, keep="\n\t")
    assert reader.attributes == [("title", shown)]
    assert reader.text == f"({shown})"


@given(
    st.recursive(
        st.text() | st.floats(allow_nan=False, allow_infinity=False), lambda inner: st.dictionaries(st.text(), inner)
    )
)
def test_no_text_ends_a_data_block_and_the_json_comes_back(value):
    block = data_block(value)
    inner = block.removeprefix('<script type="application/json">').removesuffix("</script>")
    assert "<" not in inner and "&" not in inner
    assert json.loads(inner) == value


def test_joined_markup_is_escaped_rather_than_trusted():
    assert tag("b", tag("i", "x") + tag("i", "y")) == "<b>&lt;i&gt;x&lt;/i&gt;&lt;i&gt;y&lt;/i&gt;</b>"
    assert tag("b", [tag("i", "x"), None, 3]) == "<b><i>x</i>3</b>"


@pytest.mark.parametrize("attribute", ["onclick", "onerror", "style", "srcdoc"])
def test_event_handlers_and_styles_are_refused(attribute):
    with pytest.raises(AssertionError):
        tag("p", "x", **{attribute: "x"})


def test_labels_of_charts_hold_no_markup():
    assert chart_text('<a href="x">&amp;') == '&lt;a href="x"&gt;&amp;amp;'
    assert not isinstance(chart_text("x"), Html)
