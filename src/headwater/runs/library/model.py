"""A trained model: what it expects next, what it writes, what surprises it, what it answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import PlainValidator

from headwater.core.conversations import ASSISTANT, ROLES, SYSTEM, USER, Message
from headwater.core.errors import ConfigError, EvaluationError
from headwater.evaluate import generate as generation
from headwater.evaluate.generate import GeneratedText, NextToken, Sampling, TextSurprise
from headwater.evaluate.scorer import Scorer
from headwater.export.base.facts import facts_of, has_chat_form, is_foreign, tokenizer_of
from headwater.export.base.weights import model_of
from headwater.model.transformer import Transformer
from headwater.runfile.run_config import config_of_run
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, folder_of, one_of, require_none
from headwater.runs.loading import load_model
from headwater.runs.result import RunResult
from headwater.runs.tuned import answers_messages
from headwater.tokens.tokenizer.conversation import prompt_ids, turn_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import checkpoint_of, list_checkpoints, step_of

NOT_TUNED = (
    "this model was never tuned on conversations, as far as its run or its chat template says: what it writes is "
    "not an answer; `headwater downstream sft` tunes it"
)
Format = Annotated[Literal["hf", "gguf"], one_of("hf", "gguf")]
_Types = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
GgufType = Annotated[_Types, one_of(*get_args(_Types))]
AnyMessage = Message | Mapping[str, str]
"A message, or the mapping of one to role and content."


def _require_messages(value: Any) -> Any:
    """Raise ValueError for what is neither a text nor messages; their order is another question."""
    if not isinstance(value, str) and not (isinstance(value, Sequence) and all(map(_is_message, value))):
        raise ValueError('give a text, or a list of {"role": "user", "content": "…"}')
    return value


def _is_message(value: Any) -> bool:
    fields = value._asdict() if isinstance(value, Message) else value
    return isinstance(fields, Mapping) and all(isinstance(fields.get(name), str) for name in Message._fields)


Messages = Annotated[str | Sequence[AnyMessage], PlainValidator(_require_messages)]


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
    """A model and its tokenizer, in fp32 on the CPU; `step` is that of its checkpoint, 0 of one from elsewhere.

    Of a text longer than `seq_len` tokens the model sees the last ones. Temperature 0 takes the likeliest token and 1
    samples as the model learned, from the likeliest tokens that add up to `top_p`; the same seed gives the same text.
    """

    transformer: Transformer = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    folder: Path
    step: int
    is_tuned: bool

    @classmethod
    @checked
    def load(cls, run: arg.AnyRun, step: arg.Step | None = None) -> Model:
        """Return the model of a run's newest checkpoint, or of that of a step; every byte is checked.

        `run` may be a checkpoint's folder, too, or a model of other people's: a folder of Hugging Face, a .gguf file.
        `is_tuned` says whether the model answers messages. Raises CheckpointError where there is no such checkpoint, or
        a damaged one, and ConfigError where there is no model, or none that is understood.
        """
        path = run.folder if isinstance(run, RunResult) else Path(run)
        if is_foreign(path):
            if step is not None:
                raise ConfigError(f"{path} is one model, without steps; found step={step}")
            base = facts_of(str(path))
            return cls(model_of(base), tokenizer_of(base), path, 0, has_chat_form(base))
        if step_of(path) is not None and path.is_dir():
            folder, step = path.resolve().parents[1], step_of(path) if step is None else step
        else:
            folder = folder_of(run)
        is_tuned = answers_messages(config_of_run(folder))
        step = step_of(checkpoint_of(folder)) if step is None else step
        return cls(*load_model(folder, step), folder, step or 0, is_tuned)

    @property
    def name(self) -> str:
        """The name of its run, or of the folder or file that it came in."""
        return self.folder.resolve().name

    @staticmethod
    @checked
    def steps(run: arg.AnyRun) -> list[int]:
        """Return the steps of which a run keeps a checkpoint, which `load` takes, in their order."""
        return sorted(step for step, _ in list_checkpoints(folder_of(run)))

    @property
    def scorer(self) -> Scorer:
        return Scorer(self.transformer)

    @property
    def seq_len(self) -> int:
        return self.transformer.settings.seq_len

    @checked
    def next(self, text: arg.Text, k: arg.Count = 10, temperature: arg.Number = 1.0) -> list[NextToken]:
        """Return the `k` likeliest next tokens of a text and their probabilities, the likeliest first."""
        return generation.next_tokens(self.scorer, self.tokenizer, text, k, temperature)

    @checked
    def generate(
        self,
        text: arg.Text,
        max_tokens: arg.Count = 100,
        temperature: arg.Number = 0.8,
        top_p: arg.Number = 0.95,
        seed: arg.Seed = 0,
    ) -> Generated:
        """Return what the model writes after a text, without the text."""
        return joined(self.stream(text, max_tokens, temperature, top_p, seed))

    @checked
    def stream(
        self,
        text: arg.Text,
        max_tokens: arg.Count = 100,
        temperature: arg.Number = 0.8,
        top_p: arg.Number = 0.95,
        seed: arg.Seed = 0,
    ) -> Iterator[GeneratedText]:
        """Yield the same as it is written, a piece a token; the last piece says what ended it."""
        return generation.stream(self.scorer, self.tokenizer, text, max_tokens, temperature, top_p, seed)

    @checked
    def surprise(self, text: arg.Text) -> TextSurprise:
        """Return the surprise at each token of a text in bits, and at all of it in bits per byte.

        Raises EvaluationError for an empty text.
        """
        return generation.surprise(self.scorer, self.tokenizer, text)

    @checked
    def chat(
        self,
        messages: Messages,
        max_tokens: arg.Count = 200,
        temperature: arg.Number = 0.0,
        top_p: arg.Number = 0.95,
        seed: arg.Seed = 0,
    ) -> Generated:
        """Return the answer to the last of the messages, such as {"role": "user", "content": "Hello"}, or to a text.

        The oldest are forgotten where they are longer than the model sees. A model that never saw conversations
        (`is_tuned` is false) writes nonsense, and a warning says so. Raises EvaluationError where no answer is due.
        """
        return joined(self.chat_stream(messages, max_tokens, temperature, top_p, seed))

    @checked
    def chat_stream(
        self,
        messages: Messages,
        max_tokens: arg.Count = 200,
        temperature: arg.Number = 0.0,
        top_p: arg.Number = 0.95,
        seed: arg.Seed = 0,
    ) -> Iterator[GeneratedText]:
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


@checked
def export(run: arg.AnyRun, /, to: Format = "hf", type: GgufType | None = None, say: arg.Progress = print) -> Path:
    """Write the newest model of a run for other programs, unless it is there already; return the folder that has it.

    "hf" is for transformers, vLLM and TRL; "gguf" for llama.cpp and ollama, in the number format `type`: f32, f16
    (where none is given), bf16, q8_0 or q4_0. Raises CheckpointError without a checkpoint, ExportError for a model that
    can't be written so.

        headwater.export("runs/mine", to="gguf", type="q8_0")
    """
    from headwater.runs.finish import export_gguf_stage, export_stage

    config = config_of_run(folder_of(run))
    if to == "gguf":
        return export_gguf_stage(config, type or "f16", say)
    require_none("is for --to gguf", type=type)
    return export_stage(config, say)


def joined(pieces: Iterable[GeneratedText]) -> Generated:
    """Return what a stream has yielded at its end."""
    whole = list(pieces)
    return Generated("".join(piece.text for piece in whole), whole[-1].num_tokens, str(whole[-1].end))
