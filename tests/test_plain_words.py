"""The words of the field, in everything that a person sees and in names: no word that was invented here comes back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "src").rglob("*.toml"))
ASSETS = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".js", ".html"))

RETIRED_WORDS = {  # a pattern, and what to write instead
    r"foret(?:old|ell\w*)": "forecast",
    r"\breadings\b": "epochs, or measurements",
    r"\byardsticks?\b": "baselines",
    r"\blooks\b(?! like)": "probes",
    r"\babilit(?:y|ies)\b": "probes",
    r"\bnot taken\b": "skipped",
    r"(?:\b|_)left[ _-]out(?:\b|_)": "skipped, excluded",
    r"\b(?:goes|go) on (?:where|from|with)\b": "resumes",
    r"\bis no number\b": "is NaN",
    r"\bbeside (?:other|another|busy) programs?\b": "under load",
    r"\banew\b": "again, re-",
    r"\breckon\w*": "estimate",
    r"\b(?:where|there)of\b": "of which",
    r"\bby turns\b": "alternately",
    r"\bby heart\b": "memorised",
    r"\bway on\b": "what to do",
    r"\bwish(?:es)?\b": "options, settings",
    r"\bmetronome\b": "speed sampling",
    r"\bsift\w*": "filter",
    r"\bfates?\b": "decisions",
    r"\bdeck\b": "shuffled cycle",
    r"\bobeys?\b": "handles requests",
    r"\bdear(?:er|est)\b": "slower, most expensive",
    r"\blearnt\b": "learned",
}
RETIRED_IN_ASSETS = {
    r"\bwhere (?:the|their|its|it|no|there|a|an|this|one)\b": "if",
    r"\b(?:is|are) no\b(?! \w+ (?:yet|in|of|here|\$))": "is not a",
    r"\b(?:lies?|lay) (?:in|at|on|there|here)\b": "is",
}
RETIRED_NAMES = {
    "foretold", "foretell", "readings", "yardstick", "yardsticks", "looks", "looked", "ability", "abilities", "wish", "wishes", "obey", "told",
    "sift", "sifter", "sifted", "bench", "fate", "fates", "deck", "papers", "metronome", "anew", "asked", "laid", "moved", "examiner", "reckon",
    "guessed", "begun", "dear", "clearly", "hopeless", "patience",
}  # fmt: skip
KEPT = {"wish"}
"Whole strings that stay: the shell of Tcl."


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in KEPT:
            yield node.lineno, node.value


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def words_of(name: str) -> list[str]:
    return [word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", part)]


def retired(text: str, words: dict[str, str] = RETIRED_WORDS) -> list[str]:
    return [f"{found[0]!r}: say {instead}" for word, instead in words.items() if (found := re.search(word, text, re.I))]


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_no_string_has_a_retired_word():
    wrong = [
        f"{place(path, line)}: {problem}"
        for path in SOURCES
        for line, text in strings(ast.parse(path.read_text(encoding="utf-8")))
        for problem in retired(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_name_has_a_retired_word():
    wrong = [
        f"{path.relative_to(ROOT)}: the file's name" for path in SOURCES if RETIRED_NAMES & set(words_of(path.stem))
    ]
    for path in SOURCES:
        for line, name in names(ast.parse(path.read_text(encoding="utf-8"))):
            if RETIRED_NAMES & set(words_of(name)) or retired(name):
                wrong.append(f"{place(path, line)}: {name}")
    assert not wrong, "\n".join(wrong)


def test_no_retired_word_is_shown_by_a_run_or_its_report(finished):
    page = (finished.run_dir / "report.html").read_text(encoding="utf-8")
    report = re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]+>", " ", page)
    shown = [finished.new.out, finished.new.err, finished.ran.out, finished.ran.err, report]
    wrong = [problem for text in shown for line in text.splitlines() for problem in retired(line)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_has_a_retired_word(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    wrong = [f"{place(page, number)}: {problem}" for number, line in enumerate(lines, 1) for problem in retired(line)]
    assert not wrong, "\n".join(wrong)


def test_no_script_and_no_page_s_frame_has_a_retired_word():
    assert {path.suffix for path in ASSETS} == {".js", ".html"}
    wrong = [
        f"{place(path, number)}: {problem}"
        for path in ASSETS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for problem in retired(line, RETIRED_WORDS | RETIRED_IN_ASSETS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "the loss was foretold",
        "3.5 readings of the text",
        "the step is not taken",
        "trained anew",
        "split_left_out",
        "left-out.json",
    ],
)
def test_the_list_knows_a_retired_word_when_it_sees_one(text):
    assert retired(text)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110
