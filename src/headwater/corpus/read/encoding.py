"""In which encoding bytes are text: by a byte order mark, by the web's labels, by what is likely.

A page is decoded as browsers do it, with U+FFFD for what its encoding doesn't explain; of other text so is what is
damaged, and none of it kept that is plainly of another encoding.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace

from headwater.corpus.document import Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ZERO_BYTE, Unusable

# the longer mark first: UTF-32's begins with UTF-16's
_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,200}(?:charset|encoding)\s*=\s*["']?\s*([\w:.-]{2,40})""", re.IGNORECASE
)
_HEAD_BYTES = 4096
# bytes of text in another charset are hardly ever a character of UTF-8 by chance
_MIN_GOOD_PER_BAD = 10
MAX_REPLACED = 0.05  # of the characters: more, and it was no text in this charset
# of the characters of other text: damage is less; of text in another charset, and be it English with a few quotation
# marks of its own, more is wrong
MAX_DAMAGED = 0.001
REPLACED = "replaced_bytes"
# codecs with the characters that browsers know beside those of the codec of a label
_WIDER = {"gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-11": "cp874"}
# labels that browsers don't know, or refuse, and names that detectors give
_MORE_LABELS = {
    **dict.fromkeys(("mac-cyrillic", "x-mac-cyrillic", "x-mac-ukrainian"), "mac-cyrillic"),
    **{"cp936": "gbk", "gb-18030": "gbk", "cp932": "cp932", "cp949": "cp949", "uhc": "cp949", "hz-gb-2312": "hz"},
    **{"iso-2022-kr": "iso2022_kr", "csiso2022kr": "iso2022_kr", "x-user-defined": "cp1252"},
}


def encoding_of(head: bytes, otherwise: str = "utf-8") -> str:
    """Return the encoding that a byte order mark names, `otherwise` without one."""
    return next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), otherwise)


def is_utf8(encoding: str) -> bool:
    return encoding.startswith("utf-8")


class Damage:
    """Counts what of a text was replaced by U+FFFD, and `because` of what, against what was not."""

    def __init__(self, because: str) -> None:
        self.because = because
        self.num_replaced = self._num_characters = self._num_beyond_ascii = 0

    def add_(self, text: str) -> None:
        self.num_replaced += _num_replaced(text)
        self._num_characters += len(text)
        self._num_beyond_ascii += 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))

    def is_little(self, encoding: str) -> bool:
        """Return whether the text is of this encoding all the same."""
        good = self._num_beyond_ascii - self.num_replaced if is_utf8(encoding) else 0
        return self.num_replaced <= max(MAX_DAMAGED * self._num_characters, good / _MIN_GOOD_PER_BAD)


def decoded(data: bytes, encoding: str, errors: str, start: int | None = 0) -> tuple[str, Damage | None]:
    """Return the text of bytes in an encoding, with `errors` as in the settings, and the damage.

    What is damaged of it is U+FFFD. Raises Unusable, not_utf8, if
    the settings allow none of that or it is too much. `start` is as in `not_decoded`.
    """
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError as error:
        text, why = data.decode(encoding, "replace"), not_decoded(error, start)
        damage = Damage(why.because)
        damage.add_(text)
        if errors == "strict" or not damage.is_little(encoding):
            raise why from None
        return text, damage


def replaced(file: InputFile, damage: Damage | None, part: str = "") -> Iterator[Drop]:
    """Yield the account of bytes that are U+FFFD in a text that is kept, if there are some."""
    if damage is not None:
        drop = file.drop(REPLACED, damage.num_replaced, f"{part}#replaced", because=damage.because)
        yield replace(drop, num_documents=0)


def codec_of(label: str | None) -> str | None:
    """Return Python's codec for a label; None where there is none, or only one that no page is written in."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = (label or "").strip().lower()
    codec: str | None = _MORE_LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    return _WIDER.get(codec or "", codec)


def detected(data: bytes) -> str:
    """Return the charset that a text is most likely in: that of western Europe where nothing tells."""
    from resiliparse.parse.encoding import detect_encoding

    return codec_of(detect_encoding(data, html5_compatible=False)) or "cp1252"


def not_decoded(error: UnicodeDecodeError, start: int | None = 0) -> Unusable:
    """Return what a file is whose bytes can't be decoded.

    `start` is where in it the bytes of `error` begin; None where that isn't known.
    """
    codec = error.encoding  # of all tables of single bytes Python says charmap
    name = "of the source's encoding" if codec == "charmap" else codec.upper().replace("-SIG", "")
    at = "" if start is None else f" at offset {start + error.start:,}"
    likely = detected(error.object)
    advice = f"`iconv -f {likely.upper().replace('_', '-')} -t UTF-8 FILE > NEW`"
    own = f'give files of another encoding a source of their own (encoding = "{likely}"?)'
    way = own if likely in ("utf_8", "utf-8") else f"convert the file: {advice}, or {own}"
    return Unusable("not_utf8", f"byte 0x{error.object[error.start]:02X}{at} is not {name}; {way}")


def zero_byte(head: bytes) -> Unusable:
    """Return what a file is that holds a zero byte, of which UTF-16 has one for each letter of English."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) * 10 > max(even, odd) or (even + odd) * 10 < len(head):
        return Unusable("binary", ZERO_BYTE)
    name = "utf-16-le" if odd > even else "utf-16-be"
    return Unusable("binary", f'{ZERO_BYTE}, as every other one; if it is UTF-16 set the source\'s encoding = "{name}"')


def decode(data: bytes, charset: str | None = None) -> str:
    """Decode a page: by its byte order mark, as UTF-8, or in the charset that its server (`charset`) or it names.

    Where none is named, or what is named explains too little, the charset is detected. Raises Unusable: binary; and
    not_utf8 where more than MAX_REPLACED of the characters stay unexplained.
    """
    mark = encoding_of(data)
    declared = codec_of(charset) or codec_of(_label_within(data))
    if mark != "utf-8":
        text = data.decode(mark, "replace")
    elif b"\0" in data and not (declared or "").startswith("utf-16"):
        raise Unusable("binary")
    else:
        text = _decoded(data, declared)
    if "\0" in text:
        raise Unusable("binary")
    if _num_replaced(text) > MAX_REPLACED * len(text):
        because = f"{_num_replaced(text) / len(text):.0%} of its characters can't be decoded"
        raise Unusable("not_utf8", because, text[:200])
    return text


def _decoded(data: bytes, declared: str | None) -> str:
    if declared is not None and (_is_stateful(declared, data) or (declared.startswith("utf-16") and b"\0" in data)):
        return _replacing(data, declared)  # its bytes are ASCII, and valid UTF-8 with that
    try:
        return data.decode()
    except UnicodeDecodeError:
        as_utf8 = data.decode(errors="replace")
    num_bad = _num_replaced(as_utf8)
    num_good = sum(1 for character in as_utf8 if character > "\x7f") - num_bad
    if num_good >= _MIN_GOOD_PER_BAD * num_bad:
        return as_utf8
    text = as_utf8 if declared is None or declared.startswith("utf") else _replacing(data, declared)
    if declared is not None and _num_replaced(text) <= MAX_REPLACED * len(text):
        return text
    return min((text, _replacing(data, detected(data))), key=_num_replaced)


def _num_replaced(text: str) -> int:
    return text.count("\ufffd")


def _replacing(data: bytes, codec: str) -> str:
    """Decode in a charset, with the characters that vendors added to it."""
    text = data.decode(codec, "replace")
    if codec == "euc_jp" and "\ufffd" in text:  # ①, ㈱ and others
        text = data.decode("euc_jis_2004", "replace")
    return text


def _is_stateful(codec: str, data: bytes) -> bool:
    return (codec.startswith("iso2022") and b"\x1b" in data) or (codec == "hz" and b"~{" in data)


def _label_within(data: bytes) -> str:
    found = _DECLARED.search(data[:_HEAD_BYTES])
    return found[1].decode("ascii", "replace") if found else ""
