"""The default rules for web pages: each drops a page for what is wrong with it. The pages are written for these tests."""

from __future__ import annotations

import pytest

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.limits import LimitsByText
from headwater.corpus.sources.rules import RuleSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

FIND_LIMITS = LimitsByText()

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


def reason(text):
    document = Document(text, "pages", "1", "page.html", "web", {"language": "en"})
    return rules_step(RuleSettings(), FIND_LIMITS)(Candidate(document, WordHasher())).reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXPLANATION, None),
        (WITH_A_TABLE, None),
        (STUB, "too_short"),
        (LONGER_STUB, "few_words"),
        (INDEX, "bullet_list"),
        (SIGNATURES, "unfinished_lines"),
        (CHANGES, "bullet_list"),
        (CONSTANTS, "low_alpha_fraction"),
    ],
    ids=["explanation", "with_a_table", "stub", "longer_stub", "index", "signatures", "change_list", "table"],
)
def test_the_default_rules_drop_a_page_for_what_is_wrong_with_it(text, expected):
    assert reason(text) == expected


def test_a_change_list_in_sentences_passes_the_rules():
    # the rules miss these: they are the classifier's work
    assert reason(CHANGES_IN_SENTENCES) is None


def letters_in_disorder(text):
    """Return every second word backwards, and of the others every second letter, then the rest."""
    words = text.split()
    return " ".join(word[::-1] if number % 2 else word[::2] + word[1::2] for number, word in enumerate(words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EXPLANATION.encode().decode("cp1252", errors="ignore"), "wrongly_decoded"),
        (EXPLANATION.encode("cp1252", errors="replace").decode(errors="replace"), "wrongly_decoded"),
        (letters_in_disorder(EXPLANATION), "few_sentences"),
        ("\n\n".join([max(EXPLANATION.split("\n"), key=len)] * 9), "repeated_lines"),
        ("\n".join(TITLES), "few_sentences"),
    ],
    ids=["UTF-8 read as cp1252", "cp1252 read as UTF-8", "letters in disorder", "one paragraph nine times", "titles"],
)
def test_the_default_rules_drop_a_page_that_was_damaged(text, expected):
    assert reason(text) == expected, text
