"""FlexAttention with a mask of documents, run uncompiled on a processor, against attention in blocks of queries.

B batch · T time · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from host_waits import HostWaits
from torch.nn.attention import flex_attention

from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.machine.compute import MachineFacts, set_up
from headwater.machine.device.compiled import BLOCK, FlexAttention, block_mask, compile_blocks_, telling_line
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer, attend, first_visible
from headwater.tokens.batches.assemble import Batch

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    # torch's own, when it traces
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.fixture(autouse=True)
def gradients_on_a_processor(monkeypatch):
    """FlexAttention's own mathematics has a gradient everywhere; only its compiled kernel needs a GPU."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)


def document_mask(documents_BT: torch.Tensor) -> flex_attention.BlockMask:
    return block_mask(first_visible(documents_BT))


def documents(num_tokens: int, share_of_starts: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(3, num_tokens, generator=generator) < share_of_starts).cumsum(1)


@pytest.mark.parametrize("num_tokens", [1, 50, BLOCK, BLOCK + 1, 4 * BLOCK, 5 * BLOCK - 3])
@pytest.mark.parametrize("share_of_starts", [0.0, 0.002, 0.02, 0.5])
def test_blocks_are_those_that_torch_finds_by_looking_at_every_pair(num_tokens, share_of_starts):
    documents_BT = documents(num_tokens, share_of_starts)
    mask = document_mask(documents_BT)

    def sees(row, head, query, key):
        return (query >= key) & (documents_BT[row, query] == documents_BT[row, key])

    expected = flex_attention.create_block_mask(sees, 3, None, num_tokens, num_tokens, device="cpu")
    assert mask.seq_lengths == expected.seq_lengths
    for kind in ("kv", "full_kv", "q", "full_q"):
        counts, theirs = getattr(mask, f"{kind}_num_blocks"), getattr(expected, f"{kind}_num_blocks")
        assert torch.equal(counts, theirs), kind
        ours, others = getattr(mask, f"{kind}_indices"), getattr(expected, f"{kind}_indices")
        for place in torch.cartesian_prod(*map(torch.arange, counts.shape)):
            row, head, block = place.tolist()
            count = int(counts[row, head, block])
            assert torch.equal(ours[row, head, block, :count].sort()[0], others[row, head, block, :count].sort()[0])
    every = torch.arange(num_tokens)
    pairs = mask.mask_mod(torch.arange(3)[:, None, None], None, every[:, None], every)
    assert torch.equal(pairs, sees(torch.arange(3)[:, None, None], None, every[:, None], every))


def test_the_host_waits_for_nothing_while_a_mask_is_made():
    with HostWaits() as waits:
        document_mask(documents(5 * BLOCK, 0.02))
    assert waits.count == 0


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), [(4, 2), (6, 1)])
@pytest.mark.parametrize("num_tokens", [BLOCK, 2 * BLOCK + 37])
@pytest.mark.parametrize(("share_of_starts", "window"), [(0.0, None), (0.03, None), (0.0, 150), (0.03, 20)])
def test_values_and_gradients_are_those_of_plain_attention(
    num_heads, num_kv_heads, num_tokens, share_of_starts, window
):
    generator = torch.Generator().manual_seed(1)
    documents_BT = documents(num_tokens, share_of_starts)
    heads = (num_heads, num_kv_heads, num_kv_heads)
    inputs = [torch.randn(3, num_tokens, count, 16, generator=generator, requires_grad=True) for count in heads]
    first_BT = first_visible(documents_BT, window)
    ours, theirs = FlexAttention(attend)(*inputs, block_mask(first_BT)), attend(*inputs, first_BT)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = torch.randn(ours.shape, generator=generator)
    for ours_too, theirs_too in zip(*(torch.autograd.grad((out * weights).sum(), inputs) for out in (ours, theirs))):
        torch.testing.assert_close(ours_too, theirs_too, rtol=1e-4, atol=1e-5)


def test_without_a_mask_attention_is_the_plain_one():
    x_BTHK, first_BT = torch.randn(2, 9, 2, 16), torch.zeros(2, 9, dtype=torch.long)
    assert torch.equal(FlexAttention(attend)(x_BTHK, x_BTHK, x_BTHK, first_BT), attend(*[x_BTHK] * 3, first_BT))


def small_model(seq_len: int, num_recomputed: int = 0) -> Transformer:
    shape = {"d_model": 64, "d_ff": 48, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "seq_len": seq_len}
    settings = ModelSettings(vocab_size=37, num_layers=2, **shape)
    model = Transformer(settings, recompute=num_recomputed)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    return model


def held_out(num_rows: int, num_tokens: int) -> Batch:
    documents_BT = documents(num_tokens, 0.02)[:num_rows]
    generator = torch.Generator().manual_seed(4)
    tokens_BT, targets_BT = torch.randint(0, 37, (2, num_rows, num_tokens), generator=generator)
    return Batch(tokens_BT.numpy(), targets_BT.numpy(), documents_BT.numpy(), targets_BT.numel(), 0)


def test_a_compiled_model_has_the_same_parameters_and_leaves_the_plain_one_uncompiled():
    model = small_model(BLOCK)
    fast = compile_blocks_(model, "eager")
    assert {name: id(p) for name, p in fast.named_parameters()} == {name: id(p) for name, p in model.named_parameters()}
    assert model.blocks.visible is first_visible
    assert fast.blocks.visible is not first_visible
    before = [block.attention.attend for block in model.blocks]
    compile_blocks_(model, "eager")
    assert [block.attention.attend for block in model.blocks] == before, "wrapped once"
    assert all(isinstance(one, FlexAttention) for one in before)


@pytest.mark.parametrize("num_recomputed", [0, 1])
@torch._dynamo.config.patch(error_on_recompile=True)
def test_all_blocks_are_one_graph_for_training_and_one_for_evaluation_whatever_their_documents(num_recomputed):
    """Traced as for a GPU, with forward and backward run by torch's own operations: nothing breaks a block in two, and
    another block, or another batch with another mask, doesn't compile again.
    """
    torch._dynamo.reset()
    model, batch = small_model(2 * BLOCK, num_recomputed), held_out(2, 2 * BLOCK)
    fast, generator = compile_blocks_(model, "aot_eager"), torch.Generator().manual_seed(3)
    for seed in range(3):
        documents_BT = documents(2 * BLOCK, 0.02, seed)
        tokens_BT = torch.randint(0, 37, documents_BT.shape, generator=generator)
        ours, theirs = (one(tokens_BT, documents_BT, tokens_BT.roll(-1, 1)) for one in (fast, model))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        both = [torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, theirs)]
        for mine, its in zip(*both):
            torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-3 * float(its.abs().max()))
        # for the other number of rows, without gradients
        with torch._dynamo.config.patch(error_on_recompile=seed > 0):
            found = measure_surprise(Scorer(model, forward=fast.hidden), [batch], np.ones(37, int))
        assert found.nats == pytest.approx(measure_surprise(Scorer(model), [batch], np.ones(37, int)).nats, rel=1e-5)
    torch._dynamo.reset()


def test_a_block_is_compiled_for_more_shapes_than_torch_takes_by_itself():
    """Microbatches of several sizes, with a gradient and without one: 24 graphs of one block."""
    torch._dynamo.reset()
    fast = compile_blocks_(small_model(48), "eager")
    with set_up(MachineFacts("cuda", "", "float32", True, 1, 1.0, "", "")):
        for num_tokens in range(4, 52, 4):
            documents_BT = documents(num_tokens, 0.1)
            fast(documents_BT, documents_BT, documents_BT)
            with torch.no_grad():
                fast.hidden(documents_BT, documents_BT)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("InvalidCxxCompiler: none", "InvalidCxxCompiler: none"),
        ("backend='inductor' raised:\nInvalidCxxCompiler: none\n\nSet X for more", "InvalidCxxCompiler: none"),
        ("\n\n", "RuntimeError"),
        ("raised:", "RuntimeError"),
    ],
)
def test_the_line_of_an_error_that_tells_most(text, line):
    assert telling_line(RuntimeError(text)) == line
