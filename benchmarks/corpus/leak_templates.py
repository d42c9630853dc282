"""Evaluation sets leaked in formats that others wrote: what is found of them, and how many innocent documents are lost.

`python leak_templates.py HALF TRIVIA PROMPTSOURCE LM_EVAL TABULATE GOOD.jsonl`: questions of uberspot/OpenTriviaQA (its
folder `categories`) and those of `leak_questions`; records as 30 data sets have them; prompts by promptsource's
templates (its folder `templates`) and lm_eval's tasks (its folder `tasks`); files as libraries write them. HALF is
"tuning" or "judging": by the hash of its name each data set and each sort of file is in one of them.
"""

from __future__ import annotations

import csv
import html
import io
import json
import plistlib
import pprint
import random
import re
import sqlite3
import sys
import tempfile
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import jinja2
import xxhash
import yaml
from leak_questions import COMMA, HEADINGS, QUESTIONS
from option_leaks import judge

from headwater.corpus.clean import clean
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.sources.settings import DecontaminateSettings

NUM_TRIVIA, NUM_LEAKS_A_FORMAT, NUM_INNOCENT = 2000, 4, 200
LETTERS = "ABCD"


class Item(NamedTuple):
    language: str
    question: str
    options: list[str]
    right: str
    statement: str = ""

    @property
    def at(self) -> int:
        return self.options.index(self.right)

    @property
    def passage(self) -> str:
        return f"Read page 12 of the handbook of facts on {' '.join(self.right.split()[:6])}, please."

    @property
    def wrong(self) -> list[str]:
        return [each for each in self.options if each != self.right]


def trivia(folder: Path) -> list[Item]:
    items = []
    for file in sorted(folder.iterdir()):
        for block in file.read_text(encoding="utf-8", errors="replace").split("\n\n#Q "):
            lines = block.removeprefix("#Q ").strip().split("\n")
            options = [line[2:].strip() for line in lines if re.match(r"[A-D] \S", line)]
            right = [line[1:].strip() for line in lines if line.startswith("^")]
            question = " ".join(line for line in lines if not re.match(r"[A-D^] ", line))
            if len(options) == len(set(options)) == 4 and right and right[0] in options and len(question.split()) >= 5:
                items.append(Item("en", question, options, right[0]))
    random.Random(21).shuffle(items)
    return items[:NUM_TRIVIA]


def other_items() -> list[Item]:
    rng, items = random.Random(7), []
    for language, lines in QUESTIONS.items():
        for line in lines.split("\n"):
            question, right, *wrong, statement = line.split("|")
            items.append(Item(language, question, rng.sample([right, *wrong], 4), right, statement))
    return items


Record = dict[str, Any]
NAMED = ["a", "b", "c", "d"]
RECORDS: dict[str, Callable[[Item], Record]] = {
    "ai2_arc/ARC-Easy": lambda i: {
        "question": i.question,
        "choices": {"text": i.options, "label": list(LETTERS)},
        "answerKey": LETTERS[i.at],
    },
    "aqua_rat/raw": lambda i: {
        "question": i.question,
        "options": [f"{n}){o}" for n, o in zip(LETTERS, i.options, strict=True)],
        "rationale": "",
        "correct": LETTERS[i.at],
    },
    "commonsense_qa": lambda i: {
        "question": i.question,
        "question_concept": "thing",
        "choices": {"label": list(LETTERS), "text": i.options},
        "answerKey": LETTERS[i.at],
    },
    "dream": lambda i: {
        "dialogue": ["W: Do you know?", "M: I do."],
        "question": i.question,
        "choice": i.options,
        "answer": i.right,
    },
    "math_qa": lambda i: {
        "Problem": i.question,
        "Rationale": "",
        "options": " , ".join(f"{n} ) {o}" for n, o in zip(NAMED, i.options, strict=True)),
        "correct": NAMED[i.at],
        "category": "general",
    },
    "nq_open": lambda i: {"question": i.question.rstrip("?").lower(), "answer": [i.right]},
    "openbookqa/main": lambda i: {
        "question_stem": i.question,
        "choices": {"text": i.options, "label": list(LETTERS)},
        "answerKey": LETTERS[i.at],
    },
    "piqa": lambda i: {"goal": i.question, "sol1": i.wrong[0], "sol2": i.right, "label": 1},
    "qasc": lambda i: {
        "question": i.question,
        "choices": {"text": i.options, "label": list(LETTERS)},
        "answerKey": LETTERS[i.at],
        "fact1": "",
        "fact2": "",
        "combinedfact": i.passage,
        "formatted_question": f"{i.question} "
        + " ".join(f"({n}) {o}" for n, o in zip(LETTERS, i.options, strict=True)),
    },
    "quail": lambda i: {
        "context": i.passage,
        "question": i.question,
        "question_type": "Factual",
        "answers": i.options,
        "correct_answer_id": i.at,
    },
    "sciq": lambda i: {
        "question": i.question,
        **{f"distractor{n}": o for n, o in enumerate(i.wrong, 1)},
        "correct_answer": i.right,
        "support": i.passage,
    },
    "social_i_qa": lambda i: {
        "context": i.passage,
        "question": i.question,
        **{f"answer{n}": o for n, o in zip("ABC", [*i.wrong[:2], i.right], strict=True)},
        "label": "3",
    },
    "squad_v2": lambda i: {
        "title": "Facts",
        "context": i.passage,
        "question": i.question,
        "answers": {"text": [i.right], "answer_start": [0]},
    },
    "trivia_qa/unfiltered": lambda i: {
        "question": i.question,
        "question_id": "tc_1",
        "answer": {"aliases": [i.right, i.right.upper()], "value": i.right, "normalized_value": i.right.lower()},
    },
    "web_questions": lambda i: {
        "url": "http://www.freebase.com/view/en/x",
        "question": i.question.lower(),
        "answers": [i.right],
    },
    "wiki_qa": lambda i: {
        "question_id": "Q1",
        "question": i.question.lower(),
        "document_title": "Facts",
        "answer": i.passage,
        "label": 1,
    },
    "head_qa/en": lambda i: {
        "name": "Cuaderno_2013_1_B",
        "qid": 1,
        "qtext": i.question,
        "ra": i.at + 1,
        "answers": [{"aid": n, "atext": o} for n, o in enumerate(i.options, 1)],
    },
    "race/high": lambda i: {
        "article": i.passage,
        "question": i.question,
        "options": i.options,
        "answer": LETTERS[i.at],
        "example_id": "high1.txt",
    },
    "cos_e/v1.11": lambda i: {
        "question": i.question,
        "choices": i.options,
        "answer": i.right,
        "abstractive_explanation": "",
        "extractive_explanation": "",
    },
    "codah/codah": lambda i: {
        "question_propmt": i.question,
        "candidate_answers": i.options,
        "correct_answer_idx": i.at,
        "question_category": 0,
    },
    "kilt_tasks/hotpotqa": lambda i: {"id": "5a", "input": i.question, "output": [{"answer": i.right}]},
    "freebase_qa": lambda i: {
        "RawQuestion": i.question,
        "ProcessedQuestion": i.question.rstrip("?").lower(),
        "Parses": {"Answers": [{"AnswersName": [[i.right]]}], "TopicEntityName": [""], "InferentialChain": ["x.y.z"]},
    },
    "haonan-li/cmmlu": lambda i: {
        "Question": i.question,
        **dict(zip(LETTERS, i.options, strict=True)),
        "Answer": LETTERS[i.at],
    },
    "facebook/belebele": lambda i: {
        "link": "https://en.wikibooks.org/wiki/X",
        "question_number": 1,
        "flores_passage": i.passage,
        "question": i.question,
        **{f"mc_answer{n}": o for n, o in enumerate(i.options, 1)},
        "correct_answer_num": str(i.at + 1),
        "dialect": "eng_Latn",
    },
    "CohereForAI/Global-MMLU": lambda i: {
        "sample_id": "x/1",
        "question": i.question,
        **{f"option_{n}": o for n, o in zip(NAMED, i.options, strict=True)},
        "answer": LETTERS[i.at],
        "required_knowledge": "[]",
    },
    "TIGER-Lab/MMLU-Pro": lambda i: {
        "question_id": 70,
        "question": i.question,
        "options": i.options,
        "answer": LETTERS[i.at],
        "answer_index": i.at,
        "cot_content": f"A: Let's think step by step. The answer is ({LETTERS[i.at]}).",
        "category": "other",
        "src": "ori_mmlu",
    },
    "Idavidrein/gpqa": lambda i: {
        "Pre-Revision Question": i.question,
        "Question": i.question,
        "Correct Answer": i.right,
        **{f"Incorrect Answer {n}": o for n, o in enumerate(i.wrong, 1)},
        "Explanation": i.passage,
        "Record ID": "rec0",
    },
    "Rakuten/JGLUE": lambda i: {
        "q_id": 1,
        "question": i.question,
        **{f"choice{n}": o for n, o in enumerate(i.options)},
        "label": i.at,
    },
    "alexandrainst/m_arc": lambda i: {
        "id": "x",
        "instruction": i.question,
        **{f"option_{n}": o for n, o in zip(NAMED, i.options, strict=True)},
        "answer": LETTERS[i.at],
    },
    "CohereForAI/include-base-44": lambda i: {
        "question": i.question,
        **{f"option_{n}": o for n, o in zip(NAMED, i.options, strict=True)},
        "answer": i.at,
        "language": "x",
        "level": "Academic",
    },
    "openlifescienceai/medmcqa": lambda i: {
        "id": "x",
        "question": i.question,
        **{f"op{n}": o for n, o in zip(NAMED, i.options, strict=True)},
        "cop": i.at,
        "choice_type": "single",
        "exp": i.passage,
        "subject_name": "Facts",
        "topic_name": None,
    },
    "AYueksel/TurkishMMLU": lambda i: {
        "grade": 9,
        "subject": "Facts",
        "question": i.question,
        "choices": i.options,
        "answer": LETTERS[i.at],
    },
    "hails/agieval": lambda i: {
        "query": f"Q: {i.question} Answer Choices: "
        + " ".join(f"({n}){o}" for n, o in zip(LETTERS, i.options, strict=True))
        + "\nA: Among A through D, the answer is",
        "choices": [f"({n}){o}" for n, o in zip(LETTERS, i.options, strict=True)],
        "gold": [i.at],
    },
    "SaylorTwift/bbh": lambda i: {
        "input": f"{i.question}\nOptions:\n" + "\n".join(f"({n}) {o}" for n, o in zip(LETTERS, i.options, strict=True)),
        "target": f"({LETTERS[i.at]})",
    },
    "chat": lambda i: {
        "messages": [{"role": "user", "content": i.question}, {"role": "assistant", "content": f"It is {i.right}."}]
    },
    "sharegpt": lambda i: {
        "conversations": [{"from": "human", "value": i.question}, {"from": "gpt", "value": i.right}]
    },
    "opentdb": lambda i: {
        "type": "multiple",
        "difficulty": "easy",
        "category": "General Knowledge",
        "question": html.escape(i.question),
        "correct_answer": html.escape(i.right),
        "incorrect_answers": [html.escape(each) for each in i.wrong],
    },
    "jeopardy": lambda i: {
        "category": "FACTS",
        "air_date": "2004-12-31",
        "question": f"'{i.question}'",
        "value": "$200",
        "answer": i.right,
        "round": "Jeopardy!",
    },
}


SENTENCES = ("wiki_qa", "chat")  # their answers are sentences, which no other sort of file has


def half_of(name: str) -> str:
    return ("tuning", "judging")[xxhash.xxh3_64_intdigest(f"leaks {name}".encode()) & 1]


# Templates of promptsource and lm_eval


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!Template", lambda loader, node: loader.construct_mapping(node))
_Loader.add_constructor("!TemplateMetadata", lambda loader, node: None)
_Loader.add_constructor("!function", lambda loader, node: None)
_JINJA = jinja2.Environment(autoescape=False)  # noqa: S701 (prompts, no pages)
_JINJA.globals.update(zip=zip, len=len, choice=lambda listed: listed[0], enumerate=enumerate)


def promptsource_prompts(folder: Path, name: str) -> Iterator[Callable[[Record], str]]:
    file = folder / name / "templates.yaml"
    if not file.is_file():
        return
    for template in yaml.load(file.read_text(encoding="utf-8"), _Loader)["templates"].values():  # noqa: S506 (a safe loader)

        def render(record: Record, template: Any = template) -> str:
            listed = template.get("answer_choices")
            choices = (
                [each.strip() for each in _JINJA.from_string(listed).render(record).split("|||")] if listed else []
            )
            text = _JINJA.from_string(template["jinja"]).render({**record, "answer_choices": choices})
            return "\n".join(part.strip() for part in text.split("|||"))

        yield render


@cache
def _tasks(folder: Path) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*yaml"))]


def lm_eval_prompts(folder: Path, name: str) -> Iterator[Callable[[Record], str]]:
    seen = set()
    for text in _tasks(folder):
        if not re.search(rf"^dataset_path: *{re.escape(name)}[^\s/]*\s*$", text, re.MULTILINE):
            continue
        task = yaml.load(text, _Loader)  # noqa: S506
        asked, target, choices = (task.get(f"doc_to_{part}") for part in ("text", "target", "choice"))
        if not isinstance(asked, str) or (asked, str(target)) in seen:
            continue
        seen.add((asked, str(target)))

        def value(given: Any, record: Record) -> Any:
            if not isinstance(given, str):
                return given
            found = _JINJA.from_string(given).render(record) if "{" in given else record.get(given, given)
            return yaml.safe_load(found) if isinstance(found, str) and re.fullmatch(r"\d+|\[.*\]", found) else found

        def render(record: Record, asked: Any = asked, target: Any = target, choices: Any = choices) -> str:
            right, listed = value(target, record), value(choices, record)
            if isinstance(listed, list) and isinstance(right, int) and right < len(listed):
                right = listed[right]
            return f"{value(asked, record)} {right}"

        yield render


# Sorts of files


def rows_of(items: list[Item]) -> list[list[str]]:
    return [[i.question, *i.options, i.right] for i in items]


def _sql(items: list[Item], _: list[Record]) -> str:
    base = sqlite3.connect(":memory:")
    base.execute("create table quiz (question, a, b, c, d, answer)")
    base.executemany("insert into quiz values (?, ?, ?, ?, ?, ?)", rows_of(items))
    return "\n".join(base.iterdump())


def _csv(items: list[Item], _: list[Record]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows_of(items))
    return file.getvalue()


def _xml(encoding: str) -> Callable[[list[Item], list[Record]], str]:
    def write(items: list[Item], _: list[Record]) -> str:
        root = ElementTree.Element("quiz")
        for i in items:
            question = ElementTree.SubElement(root, "question", type="multichoice")
            ElementTree.SubElement(ElementTree.SubElement(question, "questiontext"), "text").text = i.question
            for option in i.options:
                answer = ElementTree.SubElement(question, "answer", fraction="100" if option == i.right else "0")
                ElementTree.SubElement(answer, "text").text = option
        written = ElementTree.tostring(root, encoding=encoding)
        return written if isinstance(written, str) else written.decode()

    return write


def each_of(write: Callable[[Item], str]) -> Callable[[list[Item], list[Record]], str]:
    return lambda items, _: "\n\n".join(map(write, items))


def _lettered(i: Item, form: str = "{n}. {o}") -> str:
    return "\n".join([i.question, *(form.format(n=n, o=o) for n, o in zip(LETTERS, i.options, strict=True))])


def _key_at_the_end(items: list[Item], _: list[Record]) -> str:
    asked = [f"{n}. {_lettered(i)}" for n, i in enumerate(items, 1)]
    return "\n\n".join([*asked, " ".join(f"{n}. {LETTERS[i.at]}" for n, i in enumerate(items, 1))])


def _answers_at_the_end(items: list[Item], _: list[Record]) -> str:
    asked = [f"{n}. {i.question}" for n, i in enumerate(items, 1)]
    return "\n".join([*asked, HEADINGS[items[0].language][2], *(f"{n}. {i.right}" for n, i in enumerate(items, 1))])


def _subtitles(i: Item) -> str:
    lines = [*textwrap.wrap(i.question, 32), i.right]
    return "\n\n".join(
        f"{n}\n00:00:{2 * n:02},000 --> 00:00:{2 * n + 2:02},000\n{line}" for n, line in enumerate(lines, 1)
    )


def _bold_word(i: Item) -> str:
    words = i.question.split(" ")
    words[len(words) // 2] = f"<b>{words[len(words) // 2]}</b>"
    listed = "".join(f"<li>{html.escape(o)}</li>" for o in i.options)
    return f"<p>{' '.join(words)}</p><ol type='A'>{listed}</ol><p>{HEADINGS[i.language][2]}: {LETTERS[i.at]}</p>"


def _latex(i: Item) -> str:
    listed = "\n".join(f"  \\{'CorrectChoice' if o == i.right else 'choice'} {o}" for o in i.options)
    return f"\\question[2] {i.question}\n\\begin{{choices}}\n{listed}\n\\end{{choices}}"


def _gift(i: Item) -> str:
    return f"::Q1:: {i.question} {{\n" + "\n".join(f"{'=' if o == i.right else '~'}{o}" for o in i.options) + "\n}"


def _host(i: Item) -> str:
    return f"HOST: {i.question}\nANNA: Hm, {i.wrong[0]}?\nHOST: No, sorry. Ben?\nBEN: {i.right}!\nHOST: That's it."


def _far_answer(i: Item) -> str:
    hint = "Take your time and think about it before you scroll down, and don't look it up anywhere, please. "
    return f"{i.question}\n\n{hint * 2}\n\n.\n.\n.\n\n{HEADINGS[i.language][2]}: {i.right}"


FILES: dict[str, Callable[[list[Item], list[Record]], str]] = {
    "json lines": lambda _, records: "\n".join(json.dumps(each, ensure_ascii=False) for each in records),
    "json escaped": lambda _, records: "\n".join(map(json.dumps, records)),
    "json indented": lambda _, records: json.dumps(records, ensure_ascii=False, indent=2),
    "yaml": lambda _, records: yaml.safe_dump(records, allow_unicode=True),
    "yaml escaped": lambda _, records: yaml.safe_dump(records),
    "pprint": lambda _, records: pprint.pformat(records),
    "repr": lambda _, records: repr(records),
    "plist": lambda _, records: plistlib.dumps([{"q": str(each)} for each in records]).decode(),
    "csv": _csv,
    "tsv": lambda items, _: "\n".join("\t".join(row) for row in rows_of(items)),
    "sql": _sql,
    "xml": _xml("unicode"),
    "xml escaped": _xml("us-ascii"),
    "html with a word in bold": each_of(_bold_word),
    "latex": each_of(_latex),
    "gift": each_of(_gift),
    "aiken": each_of(lambda i: _lettered(i) + f"\nANSWER: {LETTERS[i.at]}"),
    "key at the end": _key_at_the_end,
    "answers at the end": _answers_at_the_end,
    "subtitles": each_of(_subtitles),
    "game show": each_of(_host),
    "far answer": each_of(_far_answer),
    "capitals": each_of(lambda i: f"{i.question} -- {i.right}".upper()),
    "no-break spaces": each_of(lambda i: _lettered(i, "({n}) {o}").replace(" ", "\u00a0")),
    "soft hyphens": each_of(lambda i: re.sub(r"(\w{4})(\w{3})", "\\1\u00ad\\2", f"{i.question} {i.right}")),
    "decomposed": each_of(lambda i: unicodedata.normalize("NFD", _lettered(i))),
    "full width": each_of(lambda i: f"{i.question.replace('?', chr(0xFF1F))}　【{i.right}】"),
    "quoted mail": each_of(
        lambda i: textwrap.indent(
            textwrap.fill(f"{i.question} {COMMA.get(i.language, ', ').join(i.options)}", 40), "> "
        )
    ),
    "narrow column": each_of(lambda i: textwrap.fill(_lettered(i, "[{n}] {o}"), 24)),
    "comments": each_of(lambda i: textwrap.indent(textwrap.fill(_lettered(i), 60), "# ")),
    "org": each_of(lambda i: f"* {i.question} :quiz:\n** {HEADINGS[i.language][2]}\n{i.right}"),
    "choice as a sentence": each_of(lambda i: f"{i.question} Answer {LETTERS[i.at]} ({i.right}) is correct."),
    "survey": each_of(lambda i: f"{i.question} *\n" + "\n".join(f"◯ {o} (12 %)" for o in i.options)),
    "wiki": each_of(lambda i: f"; {i.question}\n" + "\n".join(f": {{{{radio}}}} ''{o}''" for o in i.options)),
    "footnote": each_of(lambda i: f"{i.question}[1]\n\n[1] {i.right}"),
    "each twice": each_of(lambda i: f"{i.question}\n\n{_lettered(i)}\n\n{i.right}"),
}


def tables(folder: Path) -> None:
    sys.path.insert(0, str(folder.parent))
    import tabulate

    for style in tabulate.tabulate_formats:
        FILES[f"table {style}"] = lambda items, _, style=style: tabulate.tabulate(
            rows_of(items), headers=["question", *LETTERS, "answer"], tablefmt=style
        )
    for style in ("grid", "pretty", "html"):
        FILES[f"table {style}, narrow cells"] = lambda items, _, style=style: tabulate.tabulate(
            rows_of(items), tablefmt=style, maxcolwidths=24
        )


# What is planted, and what is innocent


def holds(leak: str, item: Item) -> bool:
    """Return whether a leak has the question whole, with the right answer or all options: else there is none."""

    def bare(text: str) -> str:
        return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", html.unescape(text)).lower()))

    text = bare(leak)
    options = all(bare(each) in text for each in item.options)
    return bare(item.question) in text and (bare(item.right) in text.replace(bare(item.question), "") or options)


def leaks(half: str, items: list[Item], given: list[str]) -> Iterator[tuple[str, str, str, list[Item]]]:
    """Yield the sort, the data set, the text and the items of each leak of a half."""
    rng, names = random.Random(half), [name for name in RECORDS if half_of(name) == half]
    for name in names:
        sources = [("promptsource", promptsource_prompts(Path(given[1]), name))]
        sources.append(("lm_eval", lm_eval_prompts(Path(given[2]), name)))
        for source, renders in sources:
            for render in renders:
                for item in rng.sample(items, NUM_LEAKS_A_FORMAT):
                    try:
                        text = render(RECORDS[name](item))
                    except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError):
                        continue
                    if holds(text, item):
                        yield source, name, text, [item]
    for name, write in FILES.items():
        if half_of(name) != half:
            continue
        for number in range(2 * NUM_LEAKS_A_FORMAT):
            layout = rng.choice([each for each in names if each not in SENTENCES])
            one = rng.choice(items)
            same = [each for each in items if each.language == one.language and each is not one]
            planted = [one, *rng.sample(same, number % 3)]
            text = write(planted, [RECORDS[layout](each) for each in planted])
            yield name, layout, text, planted


def innocents(items: list[Item], documents: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield documents that have statements, all options of items, and most of their questions, not together."""
    for language in QUESTIONS:
        rng, texts = random.Random(language), documents[language]
        own = [item for item in items if item.language == language and len(item.right.split()) <= 12]
        for number in range(NUM_INNOCENT):
            one, *others = rng.sample(own, 4)
            text, begun = texts[number % len(texts)], one.question[: min(len(one.question) * 2 // 3, 48)]
            statements = " ".join(each.statement or " ".join(each.right.split()[:8]) for each in others)
            listed = COMMA.get(language, ", ").join(one.options)
            parts = [text[:300], statements, f"{begun} …", text[300:700], listed, text[700:3000]]
            yield language, "\n\n".join(parts)


def main(half: str, *given: str) -> None:
    tables(Path(given[3]))
    few = other_items()
    asked = trivia(Path(given[0]))
    documents: dict[str, list[str]] = {language: [] for language in QUESTIONS}
    for line in Path(given[4]).read_text(encoding="utf-8").rstrip("\n").split("\n"):
        if (each := json.loads(line))["language"] in documents and each["source"] in ("news", "guides", "guide"):
            documents[each["language"]].append(each["text"])
    found, total = Counter[str](), Counter[str]()
    steps: dict[str, Decontaminator] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in RECORDS:
            if half_of(name) == half:
                file = Path(folder) / f"{name.replace('/', '_')}.jsonl"
                lines = (json.dumps(RECORDS[name](each), ensure_ascii=False) for each in [*asked, *few])
                file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                steps[name] = Decontaminator(DecontaminateSettings(sets={"quiz": [str(file)]}))
    for number, (sort, layout, text, planted) in enumerate(leaks(half, [*asked[:200], *few * 3], list(given))):
        around = documents[planted[0].language]
        good = around[number % len(around)]
        verdict = judge(steps[layout], clean(f"{good[:1500]}\n\n{text}\n\n{good[1500:3000]}", "text"))
        left = "" if verdict.reason else verdict.candidate.document.text
        is_found = bool(verdict.reason or verdict.cuts) and not any(holds(left, each) for each in planted)
        for group in ("all", f"in {planted[0].language}", f"format: {sort}", f"records: {layout}"):
            total[group] += 1
            found[group] += is_found
    for group in sorted(total, key=lambda each: (found[each] / total[each], each)):
        print(f"{found[group]} of {total[group]}  {group}")
    print(f"found {found['all'] / total['all']:.3f} of {total['all']}")
    lost = Counter[str]()
    for number, (language, text) in enumerate(innocents([*asked, *few], documents)):
        for name in list(steps)[number % 3 :: 3]:
            verdict = judge(steps[name], text)
            lost[language] += bool(verdict.reason or verdict.cuts)
    print(f"innocent documents lost: {dict(lost)} of {NUM_INNOCENT * len(QUESTIONS)}, each for a third of the records")


if __name__ == "__main__":
    main(*sys.argv[1:])
