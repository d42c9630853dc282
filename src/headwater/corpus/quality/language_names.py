"""Codes of languages by what people write instead: English names, capitals, regions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

# ISO 639-1, but for Cantonese and Cebuano, which have three letters alone
_NAMES = (
    "af Afrikaans, am Amharic, ar Arabic, az Azerbaijani, be Belarusian, bg Bulgarian, bn Bengali, bo Tibetan, "
    "br Breton, bs Bosnian, ca Catalan, ceb Cebuano, cs Czech, cy Welsh, da Danish, de German, el Greek, en English, "
    "eo Esperanto, es Spanish, es Castilian, et Estonian, eu Basque, fa Persian, fa Farsi, fi Finnish, fr French, "
    "fy Frisian, ga Irish, gd Gaelic, gl Galician, gu Gujarati, he Hebrew, hi Hindi, hr Croatian, hu Hungarian, "
    "hy Armenian, id Indonesian, is Icelandic, it Italian, ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, "
    "kn Kannada, ko Korean, ku Kurdish, ky Kyrgyz, la Latin, lb Luxembourgish, lo Lao, lt Lithuanian, lv Latvian, "
    "mg Malagasy, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese, my Burmese, ne Nepali, "
    "nl Dutch, nl Flemish, no Norwegian, oc Occitan, or Odia, pa Punjabi, pl Polish, ps Pashto, pt Portuguese, "
    "qu Quechua, ro Romanian, ru Russian, sa Sanskrit, sd Sindhi, si Sinhala, sk Slovak, sl Slovenian, so Somali, "
    "sq Albanian, sr Serbian, su Sundanese, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, th Thai, "
    "tk Turkmen, tl Tagalog, tl Filipino, tr Turkish, tt Tatar, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek, "
    "vi Vietnamese, yi Yiddish, yo Yoruba, yue Cantonese, zh Chinese, zh Mandarin"
)


def meant_code(given: str, known: Collection[str]) -> str | None:
    """Return the code among `known` that was meant by a language's English name or by a code in another form."""
    codes = {name.lower(): code for code, name in (entry.split(" ") for entry in _NAMES.split(", "))}
    lowered = given.strip().lower()
    first = re.split("[-_ .]", lowered)[0]
    for code in (lowered, first, codes.get(lowered), codes.get(first)):
        if code in known:
            return code
    close = difflib.get_close_matches(lowered, codes, n=1, cutoff=0.75)
    return codes[close[0]] if close and codes[close[0]] in known else None
