"""Exports a run as GGUF in every number format and compares llama.cpp's ids, scores and text with headwater's own.

    python benchmarks/gguf_in_llama_cpp.py RUN [--types f32 q8_0 …] [--texts 1000] [--prompts 200] [--seed 0]

Texts are held-out documents of all sources, a third of them; random strings of odd Unicode; and a few by hand. Prompts
are beginnings of held-out documents. KL is that of llama.cpp's distribution of the next token from headwater's; scores
are compared after their mean is taken off, once with llama.cpp's cache of keys and values in float32 and once as usual.
Of a tuned run conversations are asked, too: ids by the file's template, and answers. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from headwater.core.conversations import ASSISTANT, messages_of
from headwater.core.errors import ExportError
from headwater.corpus.document import Document
from headwater.corpus.load import list_sources, read_documents
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.evaluate.generate import continued
from headwater.evaluate.scorer import Scorer
from headwater.export.base.facts import facts_of
from headwater.export.base.tokenizer import write_tokenizer
from headwater.export.base.weights import model_of
from headwater.export.gguf import FORMATS, export_gguf
from headwater.model.transformer import Transformer
from headwater.runfile.paths import Folders
from headwater.runs.loading import load_model
from headwater.tokens.tokenizer.conversation import END, prompt_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from llama_cpp import Answer, ask

BY_HAND = [
    "",
    " ",
    "\n\n \t",
    "say <|im_end|> and <|end_of_text|>",
    "it's I'M we'LL 'ſ",
    "3.14159 1,234 ²³ Ⅷ ١٢٣",
    "a\u0301\u0300 é",
]
UNICODE = [
    (0x20, 0x7F),
    (0x80, 0x250),
    (0x300, 0x370),
    (0x370, 0x590),
    (0x590, 0x700),
    (0x900, 0xE00),
    (0x1F00, 0x2070),
]
UNICODE += [
    (0x2070, 0x2E00),
    (0x3000, 0x3100),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFB00, 0xFE00),
    (0x1F300, 0x1FAFF),
]
NUM_PROMPT_TOKENS, NUM_NEW_TOKENS, MAX_CHARACTERS = 32, 40, 2000


@dataclass(frozen=True)
class Row:
    """How near llama.cpp comes with a file: differences of scores, its cache in float32 or as usual; KL in nats."""

    type: str
    num_bytes: int
    same_ids: str
    same_first_token: str
    largest_difference_cache_f32: float
    largest_difference: float
    mean_kl: float
    largest_kl: float
    same_text_of_40_tokens: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder; of a base's file, --text-of RUN gives the texts")
    parser.add_argument("--text-of", type=Path)
    parser.add_argument("--types", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    chance, documents = random.Random(given.seed), documents_of(given.text_of or given.run, "validation")
    chance.shuffle(documents)
    prose = [each.text for each in documents if each.kind != CONVERSATIONS]
    said = [each for split in ("validation", "train") for each in documents_of(given.run, split)]
    talks = [messages_of(each.text) for each in said if each.kind == CONVERSATIONS]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model, tokenizer, tokenizer_dir = opened(given.run, scratch)
        texts = [*BY_HAND, *(text[:MAX_CHARACTERS] for text in prose[: given.texts // 3])]
        texts += [odd_text(chance) for _ in range(given.texts - len(texts))]
        starts = [tokenizer.encode(text[:MAX_CHARACTERS])[:NUM_PROMPT_TOKENS] for text in prose[: given.prompts]]
        rows = [[tokenizer.begin_id, *start[: chance.randint(1, NUM_PROMPT_TOKENS)]] for start in starts]
        ours = Comparison(model, tokenizer, texts, rows, talks[: given.prompts])
        table = []
        for type in given.types:
            out_dir = scratch / type
            try:
                export_gguf(
                    model.state_dict(),
                    model.settings,
                    tokenizer_dir,
                    out_dir,
                    type=type,
                    name="m",
                    is_tuned=bool(talks),
                )
            except ExportError as error:
                print(f"{type:>5}  {error}")
                continue
            table.append(ours.row(type, out_dir / f"m-{type}.gguf", scratch))
            print("  ".join(f"{name} {value}" for name, value in asdict(table[-1]).items()), flush=True)
    print(json.dumps([asdict(row) for row in table]))


def opened(run: Path, scratch: Path) -> tuple[Transformer, Tokenizer, Path]:
    """Return the model and tokenizer of a run, or of a base of others."""
    if (run / "config.json").exists() and (folder := Folders(run).tokenizer).exists():
        return *load_model(run), folder
    base, folder = facts_of(str(run)), scratch / "tokenizer"
    write_tokenizer(base, folder, "")
    return model_of(base), Tokenizer.load(folder), folder


def documents_of(run: Path, split: str) -> list[Document]:
    """Return the documents of a run's sources; none where it is a base of others."""
    corpus = Folders(run).corpus
    names = list_sources(corpus) if corpus.exists() else []
    return [each for name in names for each in read_documents(corpus, split, name)]


def odd_text(chance: random.Random) -> str:
    """Return up to 60 characters of a few blocks of Unicode, with white space of all kinds between them."""
    blocks = chance.sample(UNICODE, chance.randint(1, 4))
    letters = (chr(chance.randrange(*chance.choice(blocks))) for _ in range(chance.randint(1, 60)))
    return "".join(chance.choice(" \n\t\r\u00a0\u3000  ") if chance.random() < 0.15 else each for each in letters)


class Comparison:
    """What headwater itself says, computed once: ids, scores of the next token, greedy text, answers."""

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, texts: list[str], rows: list[list[int]], talks: list[list]
    ) -> None:
        self.texts, self.rows, self.tokenizer = texts, rows, tokenizer
        self.sizes = {"vocab_size": model.settings.vocab_size, "context": model.settings.seq_len}
        scorer = Scorer(model)
        self.ends = {tokenizer.end_id, *([tokenizer.special[END]] if END in tokenizer.special else [])}
        self.ids = tokenizer.encode_many(texts)
        self.logits = torch.stack([scorer.next_logits(row) for row in rows]).double().numpy()
        self.text = [continued(scorer, [row], NUM_NEW_TOKENS, self.ends)[0] for row in rows]
        asked = [list(before_the_answer(talk)) for talk in talks]
        self.messages = [[message._asdict() for message in messages] for messages in asked]
        self.prompts = [prompt_ids(tokenizer, messages) for messages in asked]
        self.answers = [continued(scorer, [prompt], NUM_NEW_TOKENS, self.ends)[0] for prompt in self.prompts]

    def row(self, type: str, file: Path, scratch: Path) -> Row:
        whole = {"texts": self.texts, "prompts": self.rows, "new_tokens": NUM_NEW_TOKENS, **self.sizes}
        usual = ask(file, scratch, **whole)
        precise = ask(file, scratch, prompts=self.rows, cache="F32", **self.sizes)
        if self.messages:
            self.show_answers(ask(file, scratch, **(whole | {"conversations": self.messages, "prompts": self.prompts})))
        kl = divergences(self.logits, usual.logits)
        return Row(
            type=type,
            num_bytes=file.stat().st_size,
            same_ids=share(usual.ids, self.ids),
            same_first_token=share(usual.logits.argmax(1).tolist(), self.logits.argmax(1).tolist()),
            largest_difference_cache_f32=round(largest_difference(self.logits, precise.logits), 6),
            largest_difference=round(largest_difference(self.logits, usual.logits), 5),
            mean_kl=float(f"{kl.mean():.2g}"),
            largest_kl=float(f"{kl.max():.2g}"),
            same_text_of_40_tokens=share(usual.continued, self.text),
        )

    def show_answers(self, found: Answer) -> None:
        ended = sum(answer[-1] in self.ends for answer in found.continued)
        print(
            f"conversations: ids by the template {share(found.conversations, self.prompts)}, "
            f"same answers {share(found.continued, self.answers)}, ended by themselves {ended} of {len(self.answers)}"
        )


def before_the_answer(talk: list) -> Iterator:
    last = max(number for number, message in enumerate(talk) if message.role == ASSISTANT)
    return iter(talk[:last])


def share(found: list, expected: list) -> str:
    return f"{sum(a == b for a, b in zip(found, expected, strict=True))} of {len(expected)}"


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    theirs = theirs.astype(np.float64)
    return float(np.abs((ours - ours.mean(1, keepdims=True)) - (theirs - theirs.mean(1, keepdims=True))).max())


def divergences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return KL(ours || theirs) in nats for each row of scores."""
    log_p, log_q = (torch.log_softmax(torch.from_numpy(each).double(), dim=1) for each in (ours, theirs))
    return (log_p.exp() * (log_p - log_q)).sum(1).numpy()


if __name__ == "__main__":
    main()
