"""Evaluation sets whose options stand in innocent documents: what is dropped of those, what is found of planted leaks.

`python option_leaks.py TEXT.zh TEXT.ja TEXT.en`: plain texts in three languages, cut into documents of 600 characters
(1,500 in English). Questions are made from them: of 300 a language each has four options that stand word by word in
one of the documents, and half of them ask for a term from there, too. Half of the documents are judged as they are; in
each of the other half one question is planted, in one of four forms, or its copy with the answer alone.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

from headwater.corpus.document import Document
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.corpus.step import Candidate, Verdict
from headwater.corpus.words import WordHasher
from headwater.sources.settings import DecontaminateSettings

NUM_ITEMS, NUM_DOCUMENTS = 300, 400
STEMS = {
    "zh": [
        "下列说法正确的是",
        "关于{}的说法，下列哪一项是正确的",
        "根据文中第{n}段的描述，以下关于{}的选项中最恰当的一项是",
        "下列各项中不属于{}的是",
    ],
    "ja": [
        "次のうち正しいものはどれか",
        "{}に関する記述として最も適切なものを一つ選べ",
        "第{n}問：次の記述のうち、{}の説明として正しいものはどれか",
    ],
    "en": [
        "Which of the following is true?",
        "Which statement best describes {}?",
        "According to paragraph {n}, which is the case for {}?",
    ],
}
ANSWER = {"zh": "答案", "ja": "答え", "en": "Answer"}
SENTENCE = re.compile(r"[^。！？.!?\n]+")


def documents_of(text: str, language: str) -> list[str]:
    size = 1500 if language == "en" else 600
    text = "\n".join(" ".join(line.split()) for line in text.split("\n") if len(line.strip()) > 20)
    return [text[at : at + size] for at in range(0, len(text) - size, size)]


def options_in(rng: random.Random, document: str, language: str) -> list[str]:
    """Return sentences and parts of them from a document: of 8 to 40 characters, of 5 to 16 words in English."""
    found = []
    for sentence in SENTENCE.findall(document):
        words = sentence.split() if language == "en" else list(sentence.strip())
        least, most = (5, 16) if language == "en" else (8, 40)
        if len(words) >= least:
            count = rng.randint(least, min(most, len(words)))
            at = rng.randint(0, len(words) - count)
            option = (" " if language == "en" else "").join(words[at : at + count]).strip()
            found += [option] if 2 * sum(map(str.isalnum, option)) > len(option) else []  # no rule of a table
    return rng.sample(found, 4) if len(found) >= 4 else []


def made(rng: random.Random, documents: list[str], language: str) -> list[dict]:
    items = []
    while len(items) < NUM_ITEMS:
        options = options_in(rng, rng.choice(documents), language)
        if options:
            term = rng.choice(options)[: 24 if language == "en" else 8]
            stem = rng.choice(STEMS[language]).format(term, n=rng.randint(2, 99))
            items.append({"id": len(items), "question": stem, "choices": options, "answer": rng.randrange(4)})
    return items


def leak(rng: random.Random, item: dict, language: str) -> tuple[str, str]:
    """Return the form and the text of a leak."""
    question, options, right = item["question"], item["choices"], item["choices"][item["answer"]]
    forms = {
        "letters, a line each": "\n".join([question, *(f"{letter}. {each}" for letter, each in zip("ABCD", options))]),
        "letters in brackets": f"{question} " + " ".join(f"({letter}) {each}" for letter, each in zip("abcd", options)),
        "options, a line each": "\n".join([question, *options]),
        "answer after a word": f"{question}\n{ANSWER[language]}: {right}",
        "answer": f"{question} {right}",
    }
    form = rng.choice(list(forms))
    return form, forms[form]


def judge(step: Decontaminator, text: str) -> Verdict:
    return step(Candidate(Document(text, "s", "i", "o", "text"), WordHasher()))


def main(paths: list[str]) -> None:
    for path in paths:
        language = path.rpartition(".")[2]
        rng = random.Random(language)
        documents = documents_of(Path(path).read_text(encoding="utf-8"), language)
        rng.shuffle(documents)
        documents = documents[: 2 * NUM_DOCUMENTS]
        items = made(rng, documents, language)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "set.jsonl"
            file.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
            step = Decontaminator(DecontaminateSettings(sets={"quiz": [str(file)]}))
        half = len(documents) // 2
        verdicts = [judge(step, text) for text in documents[:half]]
        wrong = sum(verdict.reason is not None or bool(verdict.cuts) for verdict in verdicts)
        total, found = Counter[str](), Counter[str]()
        for number, text in enumerate(documents[half:]):
            form, planted = leak(rng, items[number % NUM_ITEMS], language)
            verdict = judge(step, f"{text[: len(text) // 2]}\n{planted}\n{text[len(text) // 2 :]}")
            total[form] += 1
            found[form] += verdict.reason is not None or bool(verdict.cuts)
        print(f"{language}: {wrong} of {half} innocent documents dropped or cut; of leaks", end=" ")
        print(f"{found.total() / total.total():.3f} found:")
        print("   " + ", ".join(f"{form} {found[form]} of {total[form]}" for form in sorted(total)))


if __name__ == "__main__":
    main(sys.argv[1:])
