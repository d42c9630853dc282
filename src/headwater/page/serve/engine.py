"""A model that answers many at once: rows join and leave between two tokens, whatever the others are at.

N states · D model width · V vocabulary
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from headwater.evaluate.generate import Sampling
from headwater.model.cache import Cache
from headwater.model.transformer import Transformer
from headwater.page.serve.guard import Refusal
from headwater.tokens.tokenizer.tokenizer import Tokenizer

JOINING_TOKENS = 1024  # of new rows that one pass computes, while the others wait for their next token
CACHE_BYTES = 2_000_000_000  # that keys and values take at most
SCORED_TOKENS = 256  # of a prompt, of which scores of the whole vocabulary are held at once
LEAST_LOG_P = -9999.0  # JSON has no infinity
MAX_ROWS, MAX_WAITING_ROWS, MAX_SECONDS = 32, 512, 120.0
"Rows that are continued at once, rows that wait for that, and the time after which a row ends."


@dataclass(frozen=True)
class GenerationQuery:
    """A row of ids to continue by at most `max_tokens`, up to one of `ends`.

    num_top         of how many likeliest tokens log-probabilities are wanted beside each token's; None: of none
    scores_prompt   whether they are wanted of the row's own ids as well, but for the first
    """

    ids: list[int]
    max_tokens: int
    sampling: Sampling
    ends: frozenset[int]
    num_top: int | None = None
    scores_prompt: bool = False


class Scored(NamedTuple):
    """A token, its log-probability by the model, where that is wanted, and the likeliest tokens with theirs."""

    token: int
    log_p: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Prompt(NamedTuple):
    """The scored ids of a prompt but for its first."""

    scored: list[Scored]


class End(NamedTuple):
    reason: Literal["stop", "length"]


Event = Prompt | Scored | End


@dataclass(eq=False)
class _Row:
    query: GenerationQuery
    deliver: Callable[[Event | Refusal], None]
    until: float
    ids: list[int] = field(default_factory=list)
    is_dropped: bool = False

    @property
    def num_written(self) -> int:
        return len(self.ids) - len(self.query.ids)


class Answers:
    """What comes of several rows: (number of the row, event) as it comes, up to the End of each."""

    def __init__(self, rows: list[_Row], events: asyncio.Queue[tuple[int, Event | Refusal]]) -> None:
        self._rows, self._events = rows, events
        self._open = set(range(len(rows)))

    def drop(self, number: int) -> None:
        """Have a row end here: nothing more comes of it."""
        self._rows[number].is_dropped = True
        self._open.discard(number)

    def drop_all(self) -> None:
        for number in range(len(self._rows)):
            self.drop(number)

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        """Yield events; raise Refusal where a row is given up. Whoever stops listening drops all rows."""
        try:
            while self._open:
                number, event = await self._events.get()
                if isinstance(event, Refusal):
                    raise event
                if number in self._open:
                    if isinstance(event, End):
                        self._open.discard(number)
                    yield number, event
        finally:
            self.drop_all()


class GenerationEngine:
    """One model, its tokenizer and the thread that computes.

    A row's tokens depend on its query alone: draws on seed and position, scores on the row (see `Cache`).
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        name: str,
        is_tuned: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_tuned`: on conversations, so that it can be asked for the next message of one."""
        self.tokenizer, self.name, self.is_tuned = tokenizer, name, is_tuned
        self._clock = clock
        self.max_tokens = model.settings.seq_len
        self.max_token_bytes = int(tokenizer.bytes_per_token_table().max())
        self._names = {token: name for name, token in tokenizer.special.items()}
        tokenizer.encode("a")  # makes its tables now, and not in several threads at once
        settings, width = model.settings, torch.finfo(model.compute_dtype).bits // 8
        row_bytes = 2 * settings.num_layers * settings.num_kv_heads * settings.head_dim * settings.seq_len * width
        self._num_rows = max(1, min(MAX_ROWS, CACHE_BYTES // row_bytes))
        self._model, self._cache = model, Cache(model)
        self._active: list[_Row] = []
        self._waiting: deque[_Row] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def ask(self, queries: Sequence[GenerationQuery]) -> Answers:
        """Return what will come of the queries, of the running loop's; raise Refusal where too many wait already."""
        loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Event | Refusal]]()

        def delivering(number: int) -> Callable[[Event | Refusal], None]:
            def deliver(event: Event | Refusal) -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody listens
                    loop.call_soon_threadsafe(events.put_nowait, (number, event))

            return deliver

        until = self._clock() + MAX_SECONDS
        rows = [_Row(query, delivering(number), until, list(query.ids)) for number, query in enumerate(queries)]
        with self._changed:
            self._waiting = deque(row for row in self._waiting if not row.is_dropped)  # their clients have left
            if len(self._waiting) + len(rows) > MAX_WAITING_ROWS:
                raise Refusal(429, "too many requests are waiting; ask again later", headers={"Retry-After": "2"})
            self._waiting += rows
            self._changed.notify()
        return Answers(rows, events)

    def data_of(self, token: int) -> bytes:
        """Return the bytes of a token, and a special one's name."""
        name = self._names.get(token)
        return self.tokenizer.token_bytes(token) if name is None else name.encode()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._active or self._is_closed):
                    self._changed.wait()
                if self._is_closed:
                    return
                self._drop_ended()
                self._join_waiting()
            try:
                if self._active:
                    self._advance()
            except Exception as error:  # memory, say: those rows are lost, later ones are not
                for row in self._active:
                    row.deliver(Refusal(500, f"the model failed: {type(error).__name__}"))
                self._active, self._cache = [], Cache(self._model)

    def _drop_ended(self) -> None:
        """Take out rows that have ended; the last one takes the place of each, for few to be moved."""
        order = list(range(len(self._active)))
        for number in reversed(range(len(order))):
            row = self._active[number]
            if not row.is_dropped and self._clock() > row.until:
                self._end(row, "length")
            if row.is_dropped:
                order[number] = order[-1]
                order.pop()
        if len(order) < len(self._active):
            self._active = [self._active[number] for number in order]
            self._cache.keep(order)

    def _join_waiting(self) -> None:
        num_tokens = 0
        while self._waiting and len(self._active) < self._num_rows:
            num_tokens += len(self._waiting[0].ids)
            if num_tokens > JOINING_TOKENS and num_tokens > len(self._waiting[0].ids):
                return
            row = self._waiting.popleft()
            if not row.is_dropped and self._clock() > row.until:
                late = f"there was no turn within {MAX_SECONDS:g} s; ask again later"
                row.deliver(Refusal(429, late, headers={"Retry-After": "10"}))
            elif not row.is_dropped:
                self._active.append(row)

    @torch.inference_mode()
    def _advance(self) -> None:
        """Give each row its next token."""
        states = self._cache.states_of([row.ids for row in self._active])
        logits_BV = self._cache.logits(torch.stack([states_TD[-1] for states_TD in states])).cpu()
        likeliest = logits_BV.argmax(-1).tolist()
        for row, states_TD, logits_V, token in zip(self._active, states, logits_BV, likeliest, strict=True):
            query = row.query
            if query.scores_prompt and row.num_written == 0:
                row.deliver(Prompt(self._scored_prompt(query, states_TD)))
            if query.max_tokens == 0:
                self._end(row, "length")
                continue
            if query.sampling.temperature > 0:
                token = query.sampling.draw(logits_V, len(row.ids))
            if token in query.ends:
                self._end(row, "stop")
                continue
            row.ids.append(token)
            if query.num_top is None:
                row.deliver(Scored(token))
            else:
                row.deliver(_scored(logits_V[None], [token], query.num_top)[0])
            if row.num_written == query.max_tokens:
                self._end(row, "length")

    def _end(self, row: _Row, reason: Literal["stop", "length"]) -> None:
        row.deliver(End(reason))
        row.is_dropped = True

    def _scored_prompt(self, query: GenerationQuery, states_TD: Tensor) -> list[Scored]:
        found: list[Scored] = []
        for start in range(0, len(query.ids) - 1, SCORED_TOKENS):
            targets = query.ids[start + 1 : start + 1 + SCORED_TOKENS]
            logits_NV = self._cache.logits(states_TD[start : start + len(targets)]).cpu()
            found += _scored(logits_NV, targets, query.num_top or 0)
        return found


def _scored(logits_NV: Tensor, tokens: list[int], num_top: int) -> list[Scored]:
    """Return each token with its log-probability among these scores."""
    log_p_NV = torch.log_softmax(logits_NV, dim=-1).nan_to_num(LEAST_LOG_P, neginf=LEAST_LOG_P)
    own = log_p_NV[range(len(tokens)), tokens].tolist()
    values, top = torch.topk(log_p_NV, min(num_top, log_p_NV.shape[-1]), dim=-1)
    return [
        Scored(token, log_p, tuple(zip(top_tokens, top_values)))
        for token, log_p, top_tokens, top_values in zip(tokens, own, top.tolist(), values.tolist())
    ]
