"""A trained model: what it expects next, what it writes, what surprises it, what it answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headwater.checkpoint.layout import list_checkpoints, step_of
from headwater.conversations import ASSISTANT, ROLES, SYSTEM, USER, Message
from headwater.errors import EvaluationError
from headwater.evaluate import generate as generation
from headwater.evaluate.generate import NextToken, Piece, Sampling, TextSurprise
from headwater.evaluate.scorer import Scorer
from headwater.library.run import AnyRun, folder_of
from headwater.model.transformer import Transformer
from headwater.runs.finish import load_model
from headwater.runs.run_config import config_of_run
from headwater.runs.stages import checkpoint_of
from headwater.tokenizer.conversation import prompt_ids, turn_ids
from headwater.tokenizer.tokenizer import Tokenizer

NOT_TUNED = "this run was never tuned on conversations: it writes no answers; `headwater downstream sft` tunes it"
AnyMessage = Message | Mapping[str, str]
"A message, or the mapping of one to role and content."


@dataclass(frozen=True)
class Generated:
    """Text that a model wrote, its tokens, and why it ended: the model ended it, or max_tokens were written."""

    text: str
    num_tokens: int
    end: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Model:
    """A model and its tokenizer, in fp32 on the CPU; `step` is that of its checkpoint.

    Of a text longer than `seq_len` tokens the model sees the last ones. Temperature 0 takes the likeliest token and 1
    samples as the model learned, from the likeliest tokens that add up to `top_p`; the same seed gives the same text.
    """

    transformer: Transformer = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    folder: Path
    step: int
    is_tuned: bool

    @classmethod
    def load(cls, run: AnyRun, step: int | None = None) -> Model:
        """Return the model of a run's newest checkpoint, or of that of a step; every byte is checked.

        Raises CheckpointError where there is none, or a damaged one.
        """
        folder = folder_of(run)
        config = config_of_run(folder)
        found = step_of(checkpoint_of(folder)) if step is None else step
        return cls(*load_model(folder, found), folder, found or 0, config.is_tuned)

    @staticmethod
    def steps(run: AnyRun) -> list[int]:
        """Return the steps of which a run keeps a checkpoint, which `load` takes, in their order."""
        return sorted(step for step, _ in list_checkpoints(folder_of(run)))

    @property
    def scorer(self) -> Scorer:
        return Scorer(self.transformer)

    @property
    def seq_len(self) -> int:
        return self.transformer.settings.seq_len

    def next(self, text: str, k: int = 10, temperature: float = 1.0) -> list[NextToken]:
        """Return the `k` likeliest next tokens of a text and their probabilities, the likeliest first."""
        return generation.next_tokens(self.scorer, self.tokenizer, text, k, temperature)

    def generate(
        self, text: str, max_tokens: int = 100, temperature: float = 0.8, top_p: float = 0.95, seed: int = 0
    ) -> Generated:
        """Return what the model writes after a text, without the text."""
        return joined(self.stream(text, max_tokens, temperature, top_p, seed))

    def stream(
        self, text: str, max_tokens: int = 100, temperature: float = 0.8, top_p: float = 0.95, seed: int = 0
    ) -> Iterator[Piece]:
        """Yield the same as it is written, a piece a token; the last piece says what ended it."""
        return generation.stream(self.scorer, self.tokenizer, text, max_tokens, temperature, top_p, seed)

    def surprise(self, text: str) -> TextSurprise:
        """Return the surprise at each token of a text in bits, and at all of it in bits per byte.

        Raises EvaluationError for an empty text.
        """
        return generation.surprise(self.scorer, self.tokenizer, text)

    def chat(
        self,
        messages: str | Sequence[AnyMessage],
        max_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Generated:
        """Return the answer to the last of the messages, such as {"role": "user", "content": "Hello"}, or to a text.

        The oldest are forgotten where they are longer than the model sees. A model that never saw conversations
        (`is_tuned` is false) writes nonsense, and a warning says so. Raises EvaluationError where no answer is due.
        """
        return joined(self.chat_stream(messages, max_tokens, temperature, top_p, seed))

    def chat_stream(
        self,
        messages: str | Sequence[AnyMessage],
        max_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[Piece]:
        """Yield the same as it is written, a piece a token."""
        if isinstance(messages, str):
            messages = [Message(USER, messages)]
        turns = [each if isinstance(each, Message) else Message(each["role"], each["content"]) for each in messages]
        if not turns or turns[-1].role != USER or not {each.role for each in turns} <= set(ROLES):
            raise EvaluationError(
                f"no answer is due: the roles are {[each.role for each in turns]}, where {SYSTEM} may come first, then "
                f"{USER} and {ASSISTANT} alternately, {USER} last"
            )
        if not self.is_tuned:
            warnings.warn(NOT_TUNED, stacklevel=2)
        ids = self._seen(turns, max_tokens)
        ends = {self.tokenizer.end_id, turn_ids(self.tokenizer)[1]}
        sampling = Sampling(temperature, top_p, seed)
        return generation.stream_from(self.scorer, self.tokenizer, ids, max_tokens, sampling, ends)

    def _seen(self, messages: list[Message], max_tokens: int) -> list[int]:
        """Return the ids of the system's message and of the last others for which there is room beside an answer."""
        first = sum(role == SYSTEM for role, _ in messages)
        room = self.seq_len - min(max_tokens, self.seq_len // 2)
        for start in range(first, len(messages), 2):
            ids = prompt_ids(self.tokenizer, messages[:first] + messages[start:])
            if len(ids) <= room:
                break
        return ids


def joined(pieces: Iterable[Piece]) -> Generated:
    """Return what a stream has yielded at its end."""
    whole = list(pieces)
    return Generated("".join(piece.text for piece in whole), whole[-1].num_tokens, str(whole[-1].end))
