"""One update: exact under any split into microbatches, and skipped when it isn't finite."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from host_waits import HostWaits
from tiny_run import ROWS_PER_STEP, MadeUpRows, plan
from torch.nn.functional import cross_entropy

from headwater.machine.device.device import Device
from headwater.machine.parallel.data_parallel import DataParallel, GradientSum
from headwater.machine.ranks.exchange import Ranks
from headwater.model.init import initialise_
from headwater.model.optim.optimizer import Optimizer
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import NO_TARGET, Batch
from headwater.train.gradients import sum_gradients
from headwater.train.step import StepResult, train_step


class Trainer:
    """A model and its optimizer, ready to take steps."""

    def __init__(self, **choices) -> None:
        the_plan = plan(**choices)
        self.parallel = DataParallel(Ranks(), Device())
        self.model = Transformer(the_plan.model)
        initialise_(self.model, the_plan.seed)
        self.num_updates = 0
        self.optimizer = Optimizer(self.model.named_parameters(), the_plan.optim)

    def step(self, microbatches: list[Batch], **options) -> StepResult:
        given, usual = (
            (self.model, self.optimizer, microbatches, self.parallel),
            {"lr_factor": 1.0, "max_grad_norm": 1.0},
        )
        result = train_step(*given, step=self.num_updates, **usual | options)
        self.num_updates += result.reason is None
        return result

    def everything(self) -> dict[str, torch.Tensor]:
        return {
            name: tensor.clone() for name, tensor in (self.model.state_dict() | self.optimizer.state_tensors()).items()
        }


def split(first_row: int, rows_per_microbatch: int) -> list[Batch]:
    rows = MadeUpRows()
    return [rows.rows(first_row + start, rows_per_microbatch) for start in range(0, ROWS_PER_STEP, rows_per_microbatch)]


def test_loss_and_gradient_are_those_of_plain_torch_on_the_whole_batch():
    trainer = Trainer()
    (batch,) = split(0, ROWS_PER_STEP)
    tokens, targets, documents = (
        torch.from_numpy(a).long() for a in (batch.tokens_BT, batch.targets_BT, batch.documents_BT)
    )
    logits = trainer.model.logits(trainer.model.hidden(tokens, documents))
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)
    norm = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(trainer.model.parameters()))]).norm()
    result = trainer.step([batch])
    assert result.num_targets == int((targets != NO_TARGET).sum())
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    assert result.grad_norm == pytest.approx(norm.item(), rel=1e-5)
    assert result.reason is None


@pytest.mark.parametrize("rule", ["muon", "adamw"])
def test_the_split_into_microbatches_changes_nothing_but_last_bits(rule):
    """Microbatches have different numbers of targets, so that a mean of means would be wrong."""
    whole, parts = Trainer(rule=rule), Trainer(rule=rule)
    assert len({batch.num_targets for batch in split(0, 1)}) > 1
    for step in range(3):
        one = whole.step(split(step * ROWS_PER_STEP, ROWS_PER_STEP))
        many = parts.step(split(step * ROWS_PER_STEP, 1))
        assert many.loss == pytest.approx(one.loss, rel=1e-5)
        assert many.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
        assert many.num_targets == one.num_targets


def test_gradients_do_not_pile_up_from_step_to_step():
    fresh, used = Trainer(), Trainer()
    state = used.everything()
    used.step(split(0, 2), lr_factor=0.0)
    used.model.load_state_dict({name: state[name] for name in used.model.state_dict()})
    assert used.step(split(4, 2)).grad_norm == fresh.step(split(4, 2)).grad_norm


def test_clipping_lowers_the_update_and_not_the_norm_that_is_returned():
    free, clipped = Trainer(rule="adamw"), Trainer(rule="adamw")
    norms = [
        free.step(split(0, 2), max_grad_norm=None).grad_norm,
        clipped.step(split(0, 2), max_grad_norm=1e-3).grad_norm,
    ]
    assert norms[0] == norms[1] > 1e-3
    assert float(clipped.optimizer.state_tensors()["embed.weight.mean"].norm()) < 1e-3


@pytest.mark.parametrize("max_grad_norm", [None, 1e-3])
def test_the_host_waits_once_a_step_when_all_microbatches_are_queued(monkeypatch, max_grad_norm):
    trainer, reads, updates = Trainer(), [], []
    trainer.parallel.device.reads_are_free = False  # as on a GPU
    read = trainer.parallel.device.read

    def counting_read(*values):
        assert not updates, "a step that isn't finite must be known before the update"
        assert all(p.grad is not None for p in trainer.model.parameters()), "all backward passes are queued"
        reads.append(values)
        return read(*values)

    monkeypatch.setattr(trainer.parallel.device, "read", counting_read)
    monkeypatch.setattr(trainer.optimizer, "step", lambda *given: updates.append(given))
    with HostWaits() as waits:
        assert trainer.step(split(0, 1), max_grad_norm=max_grad_norm).reason is None
    assert len(reads) == len(updates) == 1
    assert waits.count == 0


def test_the_count_of_waits_sees_one():
    with HostWaits() as waits:
        assert float(torch.ones(())) == 1 and torch.ones(1).nonzero().numel()
    assert waits.count == 2


# ---- a step that isn't taken leaves no trace: parameters, moments


def spoil_gradient(monkeypatch, name: str, value: float) -> None:
    """Let every step leave `value` in one number of a parameter's gradient."""

    def reduce_(self, model):
        dict(model.named_parameters())[name].grad.view(-1)[-1] = value

    monkeypatch.setattr(GradientSum, "reduce_", reduce_)


def untaken(trainer: Trainer, microbatches: list[Batch], **judge) -> StepResult:
    """Take a step that isn't taken, and check that nothing has another bit afterwards."""
    before = trainer.everything()
    result = trainer.step(microbatches, **judge)
    assert result.reason is not None
    after = trainer.everything()
    assert not [n for n in before if not torch.equal(before[n].view(torch.int32), after[n].view(torch.int32))]
    assert not [p for p in trainer.model.parameters() if p.grad is not None], "it would spoil the next step"
    return result


@pytest.mark.parametrize("rule", ["muon", "adamw"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["embed.weight", "blocks.1.mlp.down.weight", "blocks.0.attention.query.weight"])
def test_one_bad_number_in_one_gradient_leaves_no_trace(monkeypatch, rule, value, name):
    """OLMo's skip multiplies by 0 and so puts NaN into both moments."""
    trainer, other = Trainer(rule=rule), Trainer(rule=rule)
    trainer.step(split(0, 2)), other.step(split(0, 2))
    with monkeypatch.context() as patch:
        spoil_gradient(patch, name, value)
        assert "is not finite" in untaken(trainer, split(4, 2)).reason
    assert trainer.step(split(8, 2)) == other.step(split(8, 2)), "the next step is as if nothing had been"
    assert all(torch.equal(value, other.everything()[name]) for name, value in trainer.everything().items())


def without_targets(batch: Batch) -> Batch:
    return replace(batch, targets_BT=np.full_like(batch.targets_BT, NO_TARGET), num_targets=0)


@pytest.mark.parametrize("bad", ["an infinite loss with good gradients", "no target", "judged"])
def test_a_step_that_is_not_taken_leaves_no_trace_and_says_why(bad):
    trainer = Trainer()
    trainer.step(split(0, 2))
    batches = split(4, 2)
    if bad == "judged":
        assert untaken(trainer, batches, judge=lambda *found: "too good").reason == "too good"
    elif bad == "no target":
        assert untaken(trainer, [*map(without_targets, batches)]).reason == "its rows hold no token to predict"
    else:
        assert untaken(trainer, batches, compute=lambda *given: sum_gradients(*given) + math.inf).loss == math.inf


def test_a_microbatch_without_targets_beside_one_with_some_changes_nothing():
    (batch,) = split(4, ROWS_PER_STEP)
    alone, beside = Trainer(), Trainer()
    assert alone.step([batch]).loss == beside.step([batch, without_targets(batch)]).loss
