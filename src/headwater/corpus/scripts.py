"""What a writing system decides: what is a word in it, and what ends a sentence.

From Unicode's own tables (17: Scripts.txt, Sentence_Terminal of PropList.txt, general categories Mn and Mc), written
down here, not looked up by the package `regex`: so a corpus doesn't depend on its version, and `re` is faster.
"""

from __future__ import annotations

import re
from itertools import islice

# scripts that write words without spaces between them, by what is counted in them instead of words
_CHARACTERS = (  # one character: Bopomofo, Han, Hiragana, Katakana, Yi
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-"
    "\u9fff\ua000-\ua48c\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_CLUSTERS = (  # a letter with its marks: Thai, Lao, Myanmar, Khmer, New Tai Lue, Tai Tham, Balinese, Javanese, Tai Viet
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9df\ua9e0-\ua9ff\uaa60-"
    "\uaadf"
)
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-"
    "\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\u17b4-\u17d3\u17dd\u1a55-\u1a7f\u1b00-\u1b04"
    "\u1b34-\u1b44\ua980-\ua983\ua9b3-\ua9c0\uaa7b-\uaa7d\uaab0\uaab2-\uaab4\uaab7\uaab8\uaabe\uaabf\uaac1"
)
_STACKED = "\u1039\u17d2\u1a60"  # the letter after one of these stands below the one before
_SYLLABLES = "\u0f00-\u0f0a\u0f0c\u0f15-\u0fff"  # what a dot divides: Tibetan, but for its dot and strokes

UNSPACED = _CHARACTERS + _CLUSTERS
_UNSPACED = re.compile(f"[{UNSPACED}\u0f00-\u0fff]+")
_NOT_CHARACTERS = re.compile(f"[{_CLUSTERS}\u0f00-\u0fff]")
_UNIT = re.compile(f"[{_CLUSTERS}](?:[{_MARKS}]|(?<=[{_STACKED}])[{_CLUSTERS}])*|[{_SYLLABLES}]+|[^\\s\u0f00-\u0fff]")

# scripts in which a space stands between sentences and nothing else: Thai, Lao
_UNMARKED_SENTENCES = re.compile("[\u0e01-\u0eff]+")
# Sentence_Terminal, but for ASCII's and the Arabic question mark; Tibetan's strokes, which are Terminal_Punctuation
_ENDS = (
    "\u0f0d\u0f0e\u0f11\u0f14\u0589\u061d\u061e\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab\u1b4e\u1b4f"
    "\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d-\u1b7f\u1c3b\u1c3c\u1c7e\u1c7f\u2024\u203c\u203d\u2047-\u2049\u2cf9-\u2cfb\u2e2e"
    "\u2e3c\u2e53\u2e54\u2e60\u2e61\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9"
    "\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\U00010a56\U00010a57"
    "\U00010f55-\U00010f59\U00010f86-\U00010f89\U00011047\U00011048\U000110be-\U000110c1\U00011141-\U00011143"
    "\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U000113d4"
    "\U000113d5\U0001144b\U0001144c\U000115c2\U000115c3\U000115c9-\U000115d7\U00011641\U00011642\U0001173c-\U0001173e"
    "\U00011944\U00011946\U00011a42\U00011a43\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43"
    "\U00011f44\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38\U00016b44\U00016d6e\U00016d6f\U00016e98\U0001bc9f"
    "\U0001da88"
)
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"  # no width
# a full stop within a number or an address ends nothing; of other scripts' signs each does, and so do two of
# Ethiopic's dots between words, and an upright stroke for Devanagari's, as many type them
_FULL_STOP = re.compile(f"[.!?\u2026\u061f][\"')\\]”’»{_INVISIBLE}]*(?=\\s|$)")
_STOP = re.compile(f"{_FULL_STOP.pattern}|[{_ENDS}]|\u1361\u1361|[\u0900-\u0dff] ?\\|(?=\\s|$)")
_TO_LAST_FULL_STOP, _TO_LAST_STOP = (re.compile(f"(?s:.*)(?:{stop.pattern})") for stop in (_FULL_STOP, _STOP))
_PARAGRAPH_CHARACTERS = 200
_AROUND = "\"')]}»”’*_`）」』】》〉" + _INVISIBLE
_FOREIGN_END = re.compile(f"(?:[\u2026\u061f{_ENDS}]|\u1361\u1361|[\u0900-\u0dff] ?\\|)$")


def num_sentences(text: str, enough: int) -> int:
    """Return how many sentences a text has: full stops that white space or an end follows, or other scripts' signs.

    Those beyond `enough` are not counted.
    """
    stops = (_FULL_STOP if text.isascii() else _STOP).finditer(text)
    return sum(1 for _ in islice(stops, enough))


def ends_sentence(line: str) -> bool:
    """Return whether a line ends as a sentence does, a closing bracket or quotation mark after it or not."""
    if line[-1:] in _AROUND:
        line = line.rstrip(_AROUND)
    if line.endswith((".", "!", "?")):
        return True
    return not line.isascii() and _FOREIGN_END.search(line[-3:]) is not None


def sentence_characters(line: str) -> int:
    """Return how many characters of a line are in sentences: all where it ends as one does.

    Of a paragraph that ends otherwise, as before a quotation, those to its last sentence's end.
    """
    if ends_sentence(line):
        return len(line)
    if len(line) < _PARAGRAPH_CHARACTERS:
        return 0
    match = (_TO_LAST_FULL_STOP if line.isascii() else _TO_LAST_STOP).match(line)
    return match.end() if match else 0


def is_unspaced(text: str) -> bool:
    """Return whether the text is in a script that doesn't separate words, judged by its first 2000 characters."""
    if text.isascii():
        return False
    head = text[:2000]
    return sum(map(len, _UNSPACED.findall(head))) > 0.2 * len(head)


def marks_sentences(text: str) -> bool:
    """Return whether the text is in a script that has signs for the end of a sentence: all but Thai and Lao have."""
    if text.isascii():
        return True
    head = text[:2000]
    return sum(map(len, _UNMARKED_SENTENCES.findall(head))) <= 0.2 * len(head)


def words_of(text: str) -> list[str]:
    """Return the words in lower case: what white space separates; in an unspaced script its units.

    Those are characters of Chinese and Japanese, syllables of Tibetan, letters with their marks from Thai to Khmer.
    """
    return units_of(text) if is_unspaced(text) else spaced_words_of(text)


def spaced_words_of(text: str) -> list[str]:
    return text.lower().replace("\u1361", " ").split()  # that is Ethiopic's two dots between words


def units_of(text: str) -> list[str]:
    lowered = text.lower()
    return _UNIT.findall(lowered) if _NOT_CHARACTERS.search(text) else list("".join(lowered.split()))
