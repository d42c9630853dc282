"""A measure of a user's own, from its file to what it drops; and what is no measure."""

from __future__ import annotations

import pytest

from headwater.core.errors import ConfigError, DataError
from headwater.corpus.decide.browse import document
from headwater.corpus.load import dropped_sample

SHOUTING = """
from headwater.corpus import Column, Measure

class Shouting(Measure):
    columns = {"exclamations": Column(float, "exclamation marks for each sentence")}
    kinds = ["web", "text"]

    def measure(self, texts):
        return {"exclamations": [text.count("!") / max(text.count("."), 1) for text in texts]}
"""


@pytest.fixture
def build_with(build, make_prose, tmp_path):
    """Return a function that builds a corpus of ten texts with the measure that a file holds, and a limit."""

    def build_from(code, limit=0.5, name="Shouting", column="exclamations", **more):
        (tmp_path / "mine.py").write_text(code)
        files = {f"{number}.txt": make_prose(90, number) + "!" * (3 * number) for number in range(10)}
        measures = {"shouting": {"class": f"{tmp_path}/mine.py:{name}"}}
        table = {"measures": measures, "limits": {"text": {column: {"max": limit}}}, "dedup": {"near": False}}
        return build(files, **table | more)

    return build_from


def test_a_measure_of_nine_lines_drops_what_its_limit_says(build_with, tmp_path):
    manifest = build_with(SHOUTING)
    assert manifest["sources"]["mine"]["dropped"].keys() == {"exclamations_too_high"}
    (found,) = dropped_sample(tmp_path / "corpus", None, None, 9).values()
    assert found["documents"] == 8  # two sentences have ten words a text: of 90 words one has ten
    assert {each["because"].partition(":")[0] for each in found["examples"]} == {"exclamations"}
    assert all(each["because"].endswith("0.5 at most (corpus.limits.text.exclamations)") for each in found["examples"])


def test_a_column_may_have_the_name_of_a_setting(build_with, tmp_path):
    manifest = build_with(SHOUTING.replace("exclamations", "min_words"), column="min_words")
    assert manifest["sources"]["mine"]["dropped"]["min_words_too_high"]["documents"] == 8
    (found,) = dropped_sample(tmp_path / "corpus", None, None, 9).values()
    assert all(each["because"].endswith("0.5 at most (corpus.limits.text.min_words)") for each in found["examples"])


def test_a_document_is_shown_with_its_columns_and_without_running_the_measure(build_with, tmp_path):
    build_with(SHOUTING)
    (tmp_path / "mine.py").write_text("raise RuntimeError('code of a stranger')")
    assert document(tmp_path / "corpus", "mine", 0, 9)["columns"]["exclamations"] > 0.5


def test_a_measure_is_named_so_that_a_folder_can_be(build_with):
    with pytest.raises(ValueError, match="use small letters"):
        build_with(SHOUTING, measures={'../x" (': {"class": "elsewhere.py:Shouting"}})


def test_a_limit_that_every_document_breaks_is_refused_with_both_values(build_with):
    with pytest.raises(ValueError, match=r"min = 0.6 is more than max = 0.5: every document"):
        build_with(SHOUTING, limits={"text": {"exclamations": {"min": 0.6, "max": 0.5}}})


@pytest.mark.parametrize(
    ("change", "more", "error", "said"),
    [
        (("(Measure)", ""), {}, ConfigError, r"mine.py:Shouting is not a measure: it must be a class derived from"),
        (("columns =", "others ="), {}, ConfigError, "is not a measure: .*with `columns`"),
        (("", ""), {"name": "Whispering"}, ConfigError, "corpus.measures.shouting: .*mine.py has no Whispering"),
        (("import Column", "import Colum"), {}, ConfigError, "shouting: .*mine.py:Shouting can't be loaded: ImportError"),
        (("", ""), {"measures": {"shouting": {"class": "elsewhere.py:Shouting"}}}, ConfigError, "shouting: .*elsewhere.py can't be read"),
        (("", ""), {"measures": {"shouting": {"class": "shouting"}}}, ConfigError, "shouting: no headwater.measures is named 'shouting'"),
        (("", ""), {"column": "exclamation"}, ConfigError, "corpus.limits.text.exclamation: no measure has that column; "
         "known here: .*exclamations"),
        (("[\"web\", \"text\"]", "[\"wbe\"]"), {}, ConfigError, "kinds has 'wbe'"),
        (("for text in texts]", "for text in texts[1:]]"), {}, DataError, "measure Shouting: 9 values of 'exclamations' "
         "for 10 texts; return one for each text, None where"),
        (('return {"exclamations"', 'return {"exclamation"'), {}, DataError, "0 values of 'exclamations' for 10 texts"),
        (("Column(float", "Column(int"), {}, DataError, "measure Shouting returns what it doesn't declare"),
        (("[text.count", "[text + text.count"), {}, DataError, "measure Shouting failed on 10 texts: TypeError: can only"),
        (("Column(float", "Column(dict"), {}, ConfigError, "corpus.measures.shouting: a column of .*use float, int, bool"),
        (('"exclamations": Column', '"words": Column'), {"column": "words"}, ConfigError, "there is a column 'words' already"),
        (('"exclamations": Column', '"number": Column'), {"column": "number"}, ConfigError, "there is a column 'number' already"),
        (("", ""), {"column": "usual"}, ConfigError, "limits.text.usual: no measure has that column; known .*of numbers"),
        (('"exclamations": Column', '"Words": Column'), {"column": "Words"}, ConfigError, "a column 'Words': use small letters"),
        (("", ""), {"measures": {"keys": {"class": "elsewhere.py:Shouting"}}}, ValueError, "'keys' is one of headwater's"),
        (("(Measure):", "(Measure):\n    def __init__(self, more): pass"), {}, ConfigError, "can't be made without"),
    ],
    ids=["class", "no columns", "name", "import", "file", "entry point", "unknown column", "kinds", "too few", "not returned",
         "other type", "raises", "type", "a column of ours", "a column of the texts", "a column of words", "capitals", "a measure of ours", "constructor"],
)  # fmt: skip
def test_what_is_wrong_with_a_measure_is_said(build_with, change, more, error, said):
    with pytest.raises(error, match=said):
        build_with(SHOUTING.replace(*change) if change[0] else SHOUTING, **more)
