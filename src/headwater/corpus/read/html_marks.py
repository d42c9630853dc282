"""What an element's name, class, id and role say of its content: that it is the page's main part, or none of it."""

from __future__ import annotations

import re

MAIN, ARTICLE, BODY, NOISE, FOOT, COMMENTS = 1, 2, 4, 8, 16, 64

_NOISE_WORDS = (
    "nav navbar navigation menu submenu breadcrumb breadcrumbs sidebar sphinxsidebar sidenav footer share sharing "
    "sharebar social related recommended recommendations recirculation cookie cookies consent gdpr newsletter "
    "subscribe subscription signup promo promotion promos advert advertisement advertising ads adslot sponsored "
    "sponsor banner popup modal overlay toolbar pagination pager paging toc tableofcontents widget widgets "
    "masthead topbar skip skiplink outbrain taboola search login copyright navfooter navheader navbox catlinks "
    "printfooter noprint editsection byline tags taglist trending popular readmore morestories teaser teasers "
    "playlist paywall donate feedback rating ratings bottombar headerlink prevnext related-articles hidden "
    "visuallyhidden sr-only screen-reader-text"
)
_NOISE = frozenset(_NOISE_WORDS.split())
_COMMENTS_WORDS = "comments commentlist comment-list disqus disqus_thread respond responses"
_COMMENTS = frozenset(_COMMENTS_WORDS.split())
_CONTENT_WORDS = "note warning admonition footnote footnotes topic"
_CONTENT = frozenset(_CONTENT_WORDS.split())
_BODY_WORDS = (
    "articlebody article-body article__body article-content article__content articlecontent post-content "
    "postcontent entry-content entrycontent post-body post_body story-body storybody story-content story__body "
    "content-body main-content maincontent body-content mw-parser-output article-text articletext story-text "
    "page-content"
)
_BODY = frozenset(_BODY_WORDS.split())
_NAMED = re.compile(r' (class|id|role|itemprop)="([^"]*)"')
_HIDDEN = re.compile(r' (?:hidden=""|aria-hidden="true"|style="[^"]*display: ?none)')
_SPLIT = re.compile(r"[\s_-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def marks_of(name: str, attributes: str) -> int:
    """Return the marks of an element with these attributes, as they are serialised."""
    marks = {"main": MAIN, "article": ARTICLE, "footer": FOOT, "aside": FOOT}.get(name, 0)
    if _HIDDEN.search(attributes):
        marks |= NOISE
    for key, value in _NAMED.findall(attributes) if attributes else ():
        if key == "role":
            marks |= MAIN if value == "main" else ARTICLE if value == "article" else 0
            marks |= NOISE if value in ("navigation", "search", "banner", "contentinfo", "complementary") else 0
        elif key == "itemprop":
            marks |= BODY if value in ("articleBody", "text") else 0
        elif key == "id" and name == "section":  # made of its heading, which may be of cookies or of menus
            marks |= _word_marks(value) & COMMENTS
        else:
            marks |= _word_marks(value)
    return marks & ~(NOISE | FOOT | COMMENTS) if marks & _KEPT else marks


_KEPT = 32


def _word_marks(value: str) -> int:
    whole = value.lower().split()
    words = {word.lower() for word in _SPLIT.split(_CAMEL.sub(" ", value))} | set(whole)
    marks = NOISE if words & _NOISE else 0
    marks |= FOOT if "footer" in words else 0
    marks |= COMMENTS if words & _COMMENTS else 0
    marks |= BODY if not _BODY.isdisjoint(whole) else 0
    return marks | (_KEPT if words & _CONTENT else 0)
