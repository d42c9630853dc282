"""What the head of a page says of it: title, language, licence, date, address, site and author; dates in ISO's form."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from html import unescape

from headwater.corpus.licences.names import licence_at, stated_licence
from headwater.corpus.toml_tables import toml_table

_DATE = re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)")
_YEAR_FIRST = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2]))?(?!\d)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL)
_META = re.compile(r"<meta ([^>]*)>")
_LINK = re.compile(r"<(?:link|a) ([^>]*\brel=\"(?:canonical|license|[^\"]*\blicense\b)[^>]*)>")
_TAG = re.compile(r"<[^>]*>?")
_NEAR_CHARACTERS = 1500
_IN_FOOTER = re.compile(
    r"<footer\b(?!.*</footer)|(?:id|class|role)=\"[^\"]*\b(?:foot|contentinfo|copyright|licen[cs]e)", re.DOTALL
)
_THIS_PAGE_IS = re.compile(
    r"\b(?:this|these|the|all|our|where otherwise \w+,?) (?:\w+ ){0,3}(?:pages?|sites?|websites?|works?|articles?"
    r"|books?|blogs?|contents?|texts?|posts?|documents?|documentation|materials?|wiki|chapters?|tutorials?|courses?)\b"
    r"(?: \w+){0,8} (?:licen[cs]ed|available|released|published|distributed|under)\b[^.]{0,60}$",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_LANGUAGE = re.compile(r"[a-zA-Z]{2,3}(?=$|[-_])")
_NAMES: dict[str, str] = toml_table("headwater.corpus.read", "metadata_names")["page"]


def iso_date(text: str) -> str:
    """Return the first date of a line, without its time; else the year, or month, that a text begins with; else ""."""
    found = _DATE.search(text[:300]) or _YEAR_FIRST.match(text.strip())
    return found[0] if found else _date_of_mail(text)


def _date_of_mail(text: str) -> str:
    """Return the date of a text in the form of mail and HTTP (RFC 2822), "" of any other."""
    try:
        return parsedate_to_datetime(text[:100]).date().isoformat()
    except (ValueError, OverflowError):
        return ""


def language_of(attribute: str) -> str:
    """Return the language, two letters or three, of an attribute such as "en-US"; "" where it is none."""
    found = _LANGUAGE.match(attribute.strip())
    return found.group().lower() if found else ""


def head_metadata(head: str, language: str, body: str) -> dict[str, str]:
    """Return what a serialised head and the licence link of a body say; `language` is the page's own attribute."""
    contents: dict[str, str] = {}
    rights: list[str] = []
    for attributes in _META.findall(head):
        found = dict(_ATTRIBUTE.findall(attributes))
        name = (found.get("name") or found.get("property") or found.get("itemprop") or "").lower()
        contents.setdefault(name, _plain(found.get("content", "")))
        rights += [_plain(found.get("content", ""))] if name in _NAMES["licence"].split() else []
    meta = {
        key: next((contents[name] for name in names.split() if contents.get(name)), "") for key, names in _NAMES.items()
    }
    meta["title"] = _plain(match[1]) if (match := _TITLE.search(head)) else ""
    meta["language"] = language_of(language)
    meta["date"] = iso_date(meta["date"])
    if meta["author"].startswith("http"):
        meta["author"] = ""
    links = _links(head)
    meta["url"] = next((address for rel, address in reversed(links) if rel == "canonical" and address), meta["url"])
    meta["licence"] = stated_licence([*(address for rel, address in links if rel != "canonical"), *rights])
    if not meta["licence"] and "license" in body:
        meta["licence"] = stated_licence(_page_licences(body))
    if not meta["url"].startswith(("http://", "https://")):
        meta["url"] = ""
    return meta


def _links(html: str) -> list[tuple[str, str]]:
    """Return what the links to a licence or to the page's own address are, and where they lead."""
    found = (dict(_ATTRIBUTE.findall(attributes)) for attributes in _LINK.findall(html))
    return [(each["rel"], _plain(each.get("href", ""))) for each in found]


def _page_licences(body: str) -> list[str]:
    """Return where the links of a body lead that name the licence of the page, not that of a picture in it.

    They stand in its footer, or behind words such as "this work is licensed under". A link whose licence isn't known
    counts wherever it stands: it may be the page's.
    """
    found = []
    for match in _LINK.finditer(body):
        link = dict(_ATTRIBUTE.findall(match[1]))
        address, before = _plain(link.get("href", "")), body[max(0, match.start() - _NEAR_CHARACTERS) : match.start()]
        is_of_page = _IN_FOOTER.search(before) or _THIS_PAGE_IS.search(_plain(_TAG.sub(" ", before)))
        if link["rel"] != "canonical" and (is_of_page or licence_at(address) is None):
            found.append(address)
    return found


def _plain(text: str) -> str:
    return " ".join(unescape(text).split())
