"""The labels are what their README says, texts are rebuilt by them, and the default rules drop what they are for.

Precision and recall on the labelled pages need their packages: benchmarks/corpus/filtering.py. The pages here are
written for these tests.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.rules import RuleSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FOLDER = BENCHMARKS / "data" / "filtering"
FREE = {"public domain", "PSF-2.0", "PostgreSQL", "BSD-3-Clause", "MIT", "MIT OR Apache-2.0", "Apache-2.0"}
REQUIRED = {"id", "split", "site", "origin", "licence", "keep", "why", "cut", "sha256"}

EXPLANATION = """How the harbour clock is set

The harbour clock doesn’t know the time by itself. It asks the lighthouse once an hour, and the lighthouse answers
with the number of seconds since the last high tide. Because the answer travels over a slow cable, the clock measures
how long it waited and adds half of that. If three answers in a row differ by more than two seconds, the clock stops
asking and rings its bell until somebody comes to look.

You can ask by hand, too. This is useful after a storm, when the cable has been wet:

    tide ask --times 3
    tide set --from lighthouse

The first command only prints what it was told. The second moves the hands, slowly, so that no ship’s captain sees
them jump. The keeper’s log says who moved them and when, which is why the command wants to know your name.
"""
WITH_A_TABLE = (
    f"{EXPLANATION}\nflag | default | unit\n--times | 3 | answers\n--limit | 2 | seconds\n--cable | 1 | number"
)
STUB = "tide ask\n\nAsks the lighthouse. This command has no documentation yet.\n"
LONGER_STUB = """The keeper’s administrative responsibilities regarding lighthouse illumination

Responsibilities concerning lighthouse illumination are described elsewhere. Nothing further is documented.
Administrators requiring additional information should consult neighbouring installations. Nothing else is known.
"""
TITLES = """Mending a wet cable
What the lighthouse answers
Ordering lamps from abroad
Fog, and how loud to be
Bells
Moorings for ships of more than forty metres
The keeper on holiday
Two clocks that disagree
Paying the pilot
Signals by flag
Signals by lamp
Storm warnings received at night
Tables of tides
Cleaning the great lens
Oil, gas or current
Visitors on the stairs
Birds
Forms for lost anchors
Duties owed on fish
Letters to the harbour board
How old charts are read
Ice in the inner basin
Glossary
Where the towers stand
Whistles""".splitlines()
INDEX = "Index\n\nThese are the chapters of the manual. They follow the coast. Start anywhere.\n\n- " + "\n- ".join(
    TITLES
)
SIGNATURES = """Module tide.clock

Reads the clock. Sets it. Rings the bell. See the guide.

class Clock(name: str, cable: Cable | None = None)
Clock.ask(times: int = 3, timeout: float | None = None) -> list[Answer]
Clock.hands() -> tuple[float, float, float]
Clock.move_to(hour: int, minute: int, *, slowly: bool = True)
classmethod Clock.from_file(path: str | PathLike, encoding: str = 'utf-8')
class Answer(seconds: int, waited: float, tower: Tower)
property Answer.is_late: bool
function open_log(path, mode='r', buffering=-1, keeper=None)
function ring(bell: Bell, volume: Literal['low', 'high'], until: Event)
exception CableIsWet(Cable, since: datetime)
data DEFAULT_TOWER: Tower
"""
CHANGES = """Changes in tide 4.2

- tide ask: wrong order of answers (#311)
- tide set: crash without a cable on Sundays (#298, reported by the keeper of the north tower)
- new option --limit, in seconds
- bells: lower default volume
- log files: names of keepers with an apostrophe, wrong line ends, missing last entry
- faster start, by not reading the tables of tides twice
- translations: Frisian, Faroese, updated Cornish
- removed: tide guess, which nobody knew of
- removed: support for clocks with one hand
- manual: three chapters more, many pictures fewer
"""
CHANGES_IN_SENTENCES = """Changes in tide 4.3

1. The command that asks the lighthouse has a new option, which limits how long it waits.
2. Answers that come late are written to the log instead of being thrown away.
3. Fixed a crash when the cable was cut while the hands were moving.
4. Names of keepers may now have an apostrophe in them, and up to forty letters.
5. The tables of tides are read only once, so that starting takes half as long.
6. Fixed the bell, which rang twice at noon on the first day of a month.
"""
CONSTANTS = "Constants of the tide module\n\nname | value | mask\n" + "\n".join(
    f"T_{subject[:4].upper()} | {number * 4096} | 0x{number * 65537:08x}"
    for number in range(1, 5)
    for subject in ("tide", "lamp", "bell", "fog", "cable", "hand", "pilot", "tower")
)


@pytest.fixture
def labelled(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "corpus"))
    import labelled_pages

    return labelled_pages


@pytest.fixture
def labels(labelled):
    return labelled.read_labels()


def reason(text):
    document = Document(text, "pages", "1", "page.html", "web", {"language": "en"})
    return rules_step(RuleSettings())(Candidate(document, WordHasher())).reason


def test_every_label_has_a_reason_a_licence_and_one_split_by_its_site(labels):
    assert len({label["id"] for label in labels}) == len(labels) == 192
    assert {label["licence"] for label in labels} <= FREE
    assert all(bool(label["why"]) != label["keep"] for label in labels)
    splits = {(label["site"], label["split"], label["licence"]) for label in labels}
    assert len(splits) == len({label["site"] for label in labels}), f"a site with two splits or two licences: {splits}"
    assert all(label["origin"].startswith(f"{label['site']}/usr/share/") for label in labels)
    assert not any(label["made"] and label["keep"] for label in labels if "made" in label)


def test_no_text_of_a_page_is_in_the_labels(labels):
    assert all(label.keys() | {"made"} == REQUIRED | {"made"} for label in labels)
    assert all(re.fullmatch("[0-9a-f]{16}", label["sha256"]) for label in labels)
    assert len({label["sha256"] for label in labels}) == len(labels), "two pages have one text"
    longest = max((str(value) for label in labels for key, value in label.items() if key != "origin"), key=len)
    assert len(longest) < 40, longest
    assert not any(" " in label["origin"] for label in labels)
    assert [path.name for path in sorted(FOLDER.iterdir())] == ["README.md", "labels.jsonl"]


def test_the_readme_counts_what_is_there(labelled, labels):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = Counter((label["split"], label["keep"]) for label in labels)
    for split in ("dev", "test"):
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| {split} |")]
        sites = sorted({label["site"] for label in labels if label["split"] == split})
        assert row == f"| {split} | {', '.join(sites)} | {counts[split, True]} | {counts[split, False]} |"
    words = {word.strip("`") for word in readme.replace(",", " ").split()}
    assert {label["why"] for label in labels if label["why"]} <= words
    assert REQUIRED | {"made"} <= words
    assert sum("made" in label for label in labels) == 10 and "Ten bad pages were *made*" in readme


def test_the_command_that_gets_the_packages_names_each(labelled, labels):
    (listed,) = re.findall(r"for p in (.*?); do", labelled.__doc__, re.DOTALL)
    assert set(listed.replace("\\", " ").split()) == {label["site"] for label in labels}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXPLANATION, None),
        (WITH_A_TABLE, None),
        (STUB, "too_short"),
        (LONGER_STUB, "few_words"),
        (INDEX, "bullet_list"),
        (SIGNATURES, "few_stop_words"),
        (CHANGES, "few_sentences"),
        (CONSTANTS, "low_alpha_fraction"),
    ],
    ids=["explanation", "with_a_table", "stub", "longer_stub", "index", "signatures", "change_list", "table"],
)
def test_the_default_rules_drop_a_page_for_what_is_wrong_with_it(text, expected):
    assert reason(text) == expected


def test_a_change_list_in_sentences_passes_the_rules():
    """The rules miss these, as docs/decisions/0029 says: they are the classifier's work."""
    assert reason(CHANGES_IN_SENTENCES) is None


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("UTF-8 read as cp1252", "wrongly_decoded"),
        ("cp1252 read as UTF-8", "wrongly_decoded"),
        ("letters of the words in disorder", "few_stop_words"),
        ("one paragraph nine times", "repeated_lines"),
        ("the titles of other pages", "few_sentences"),
    ],
)
def test_the_default_rules_drop_a_page_that_was_made_bad(labelled, how, expected):
    titles = TITLES * 2  # an odd number of them: every second one of these is each of them once
    made = labelled.make(how, EXPLANATION, titles)
    assert reason(made) == expected, made
    assert len(made) <= labelled.MAX_CHARACTERS


def test_bad_pages_are_made_as_they_are_described(labelled):
    assert labelled.make("UTF-8 read as cp1252", "it’s a café", []) == "itâ€™s a cafÃ©"
    assert labelled.make("cp1252 read as UTF-8", "it’s a café", []) == "it\ufffds a caf\ufffd"
    assert labelled.make("letters of the words in disorder", "letters of the words", []) == "ltesetr fo teh sdrow"
    assert labelled.make("one paragraph nine times", "a\nlonger\nb", []) == "\n\n".join(["longer"] * 9)
    assert labelled.make("the titles of other pages", "", ["one", "two", "three"]) == "one\nthree"


def test_every_made_label_says_how_in_words_the_code_knows(labelled, labels):
    assert {label["made"] for label in labels if "made" in label} == {*labelled.MAKERS, labelled.LINK_FARM}


def test_a_text_is_cut_at_the_end_of_a_line_in_its_last_third(labelled):
    cut = labelled.cut
    assert cut("short\ntext", limit=30) == "short\ntext"
    assert cut("a" * 25 + "\n" + "b" * 25, limit=30) == "a" * 25
    assert cut("a" * 25 + " \n\n" + "b" * 25, limit=30) == "a" * 25, "no space is left at the end"
    assert cut("a" * 15 + "\n" + "b" * 25, limit=30) == "a" * 15 + "\n" + "b" * 14, "that would cut half of it away"
    assert len(cut("a" * 9000)) == labelled.MAX_CHARACTERS == 2550


def page(title, *paragraphs):
    return f"<html><head><title>{title}</title></head><body>{''.join(f'<p>{each}</p>' for each in paragraphs)}</body></html>"


def label(number, origin, sha256, **more):
    own = {"id": f"p{number}", "origin": f"tide-doc/usr/share/{origin}", "sha256": sha256}
    return {"split": "dev", "site": "tide-doc"} | own | more


def test_pages_are_rebuilt_from_packages_and_those_that_differ_are_named(labelled, tmp_path):
    share = tmp_path / "tide-doc" / "usr" / "share"
    share.mkdir(parents=True)
    (share / "clock.html").write_text(page("The clock", "It asks the lighthouse.", "It doesn’t know."), "utf-8")
    (share / "cable.html").write_text(page("The cable", "It is slow when it has been wet."), "utf-8")
    (share / "lamp.html").write_bytes(b"<p>\0\0")
    clock = "The clock\n\nIt asks the lighthouse.\n\nIt doesn’t know."
    garbled = labelled.utf8_read_as_cp1252(clock)
    labels = [
        label(0, "clock.html", labelled.digest(clock)),
        label(1, "cable.html", labelled.digest("as it was in the package before")),
        label(2, "clock.html", labelled.digest(garbled), made="UTF-8 read as cp1252"),
        label(3, "cable.html", labelled.digest("The clock"), made="the titles of other pages"),
        label(4, "storm.html", labelled.digest("gone")),
        label(5, "lamp.html", labelled.digest("gone")),
    ]
    rebuilt = labelled.rebuild(labels, tmp_path)
    assert [each["id"] for each in rebuilt.pages] == ["p0", "p1", "p2", "p3"]
    assert rebuilt.pages[0] == labels[0] | {"text": clock}
    assert rebuilt.differing == ["p1"] and list(rebuilt.lost) == ["p4", "p5"]
    counts, differing, gone, refused = rebuilt.summary().splitlines()
    assert counts == "3 of 6 pages as they were labelled, 1 with another text" and differing == "another text: p1"
    assert gone.startswith("lost: p4: no file ") and refused.endswith("the reader refuses it: binary")


def test_a_package_that_is_not_there_is_named_with_the_command_that_gets_it(labelled, tmp_path):
    with pytest.raises(
        SystemExit, match=r"no unpacked tide-doc; on Debian 13:\n  mkdir -p .*\n  apt-get download tide-doc && "
    ):
        labelled.rebuild([label(0, "clock.html", "")], tmp_path)
