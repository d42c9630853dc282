"""The visible words of a reStructuredText source: what a reader of the page made from it sees.

docutils parses it. Roles give their text (a reference without one gives the title that it points at), descriptions
their signature and body, admonitions their usual heading. What only steers the page (toctree, index, labels,
comments, images) gives nothing. A source that asks for text from elsewhere (autodoc, literalinclude) has no truth.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives, roles

FROM_ELSEWHERE = re.compile(
    r"^\s*\.\. (auto\w+|literalinclude|include|testsetup|argparse|plot|limited-api-list|pydoc-topics|opcode)::", re.M
)
_SILENT_WORDS = (
    "toctree index module currentmodule sectionauthor moduleauthor highlight highlightlang tabularcolumns "
    "contents image figure raw meta program default-role todo py:module py:currentmodule c:namespace restricted "
    "only2"
)
_SILENT = frozenset(_SILENT_WORDS.split())
_VERBATIM_WORDS = (
    "code code-block sourcecode doctest testcode testoutput parsed-literal productionlist prompt console grammar- "
    "snippet"
)
_VERBATIM = frozenset(_VERBATIM_WORDS.split())
_HEADINGS = {
    "note": "Note",
    "seealso": "See also",
    "warning": "Warning",
    "tip": "Tip",
    "hint": "Hint",
    "important": "Important",
    "caution": "Caution",
    "danger": "Danger",
    "attention": "Attention",
    "impl-detail": "CPython implementation detail:",
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "deprecated-removed": "Deprecated since version",
    "versionremoved": "Removed in version",
    "availability": "Availability:",
}
_WORDS = {"class": "class", "exception": "exception"}  # what the page puts before the name
_KNOWN_WORDS = (
    "admonition rubric topic sidebar epigraph highlights pull-quote compound container table csv-table list-table "
    "replace unicode date math"
)
_KNOWN = frozenset(_KNOWN_WORDS.split())
_TITLED = re.compile(r"^(.*?)\s*<[^<>]*>$", re.S)
_LABEL = re.compile(r"\.\. _([^:]+):\s*$")
_LINE = re.compile(r"([=\-~^\"'*+#.`:])\1{2,}\s*$")


def labels(sources: dict[str, str]) -> dict[str, str]:
    """Return the title that each label, and each document's name, stands for."""
    found: dict[str, str] = {}
    for name, text in sources.items():
        waiting = [f"/{name}", f"/{name.rsplit('/', 1)[-1]}"]
        lines = text.split("\n")
        for line, below in pairwise(lines):
            if label := _LABEL.match(line):
                waiting.append(label[1].strip("`").lower())
            elif line and not _LINE.match(line) and _LINE.match(below):
                found.update(dict.fromkeys(waiting, _plain(line)))
                waiting = []
    return found


def visible_words(source: str, titles: dict[str, str]) -> str | None:
    """Return the text that a page made from `source` shows, None where part of it comes from elsewhere."""
    if FROM_ELSEWHERE.search(source):
        return None
    _install(titles)
    prologue = "".join(f".. |{name}| replace:: {name}\n" for name in ("release", "version", "today"))
    try:
        tree = publish_doctree(
            source + "\n\n" + prologue,
            settings_overrides={
                "report_level": 5,
                "halt_level": 6,
                "file_insertion_enabled": False,
                "raw_enabled": False,
                "doctitle_xform": False,
                "smart_quotes": False,
            },
        )
    except Exception:  # docutils raises what it likes at a source: the page then has no truth and is left out
        return None
    silent = (nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.target, nodes.problematic)
    for node in list(tree.findall(lambda node: isinstance(node, silent))):
        if node.parent is not None and not (isinstance(node, nodes.target) and node.children):
            node.parent.remove(node)
    return tree.astext()


def _plain(text: str) -> str:
    return re.sub(r":[\w:]+:`[!~]?([^`<]*?)(?:\s*<[^`]*>)?`", r"\1", text).replace("`", "").strip()


def _install(titles: dict[str, str]) -> None:
    def role(name: str, language: Any, line: int, reporter: Any) -> Any:
        return lambda role_name, raw, text, *rest, **more: ([nodes.inline("", _role_text(name, text, titles))], [])

    def directive(name: str, language: Any, document: Any) -> Any:
        known = name in _KNOWN and directives._directive_registry.get(name)
        return (_directive(directive_lookup, name, language, document) if known else _generic(name)), []

    directive_lookup = _ORIGINAL
    roles.role = lambda name, *rest: (role(name.lower(), *rest), [])
    directives.directive = directive


_ORIGINAL = directives.directive


def _directive(lookup: Any, *arguments: Any) -> Any:
    return lookup(*arguments)[0]


def _role_text(name: str, raw: str, titles: dict[str, str]) -> str:
    text = raw.replace("\0", "")
    if titled := _TITLED.match(text):
        return titled[1]
    name = name.rsplit(":", 1)[-1]
    if name == "pep":
        return f"PEP {text}"
    if name == "rfc":
        return f"RFC {text}"
    if name == "ref":
        return titles.get(text.lower(), text)
    if name == "doc":
        return titles.get("/" + text.rsplit("/", 1)[-1], text)
    text = text.lstrip("!")
    return text.rsplit(".", 1)[-1] if text.startswith("~") else text


def _generic(name: str) -> type[Directive]:
    class Generic(Directive):
        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        option_spec = _AnyOption()

        def run(self) -> list[nodes.Node]:
            return _rendered(self, name.rsplit(":", 1)[-1] if name not in _SILENT else name)

    return Generic


class _AnyOption(dict):  # type: ignore[type-arg]
    def __getitem__(self, name: str) -> Any:
        return directives.unchanged

    def __bool__(self) -> bool:
        return True


def _rendered(directive: Directive, name: str) -> list[nodes.Node]:
    argument = "\n".join(directive.arguments)
    if name in ("module", "currentmodule"):
        directive.state.document.current_module = f"{argument}."
    if name in _SILENT:
        return []
    if name in ("function", "class", "exception", "data", "decorator", "coroutinefunction"):
        module = getattr(directive.state.document, "current_module", "")
        argument = "\n".join(f"{_WORDS.get(name, '')} {module}{line}" for line in argument.split("\n"))
    if name in _VERBATIM:
        content = argument if name == "productionlist" else ""
        return [nodes.literal_block("", "\n".join([content, *directive.content]).strip("\n"))]
    if name == "only":
        argument = ""
    heading = _HEADINGS.get(name, "")
    body = nodes.container()
    if name in ("versionadded", "versionchanged", "deprecated", "versionremoved", "deprecated-removed"):
        version, _, rest = argument.partition(" ")
        argument = f"{heading} {version}: {rest}"
    elif heading:
        body += nodes.paragraph("", heading)
    if argument:
        inline, _ = directive.state.inline_text(argument, directive.lineno)
        body += nodes.paragraph("", "", *inline)
    directive.state.nested_parse(directive.content, directive.content_offset, body, match_titles=True)
    return [body]


def read_sources(folder: Path) -> dict[str, str]:
    """Return the sources below a Sphinx `_sources` folder by the name of their page."""
    found = {}
    for path in sorted(folder.rglob("*.rst.txt")):
        found[path.relative_to(folder).as_posix().removesuffix(".rst.txt")] = path.read_text(encoding="utf-8")
    return found
