"""Bytes and hops of each exchange, against rings simulated message by message and volumes of the papers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.plan.forecast.device import find_device

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from costing.communication import Group, sharding_traffic, step_traffic, tensor_traffic
from costing.device import read_devices
from costing.layout import Layout
from costing.transformer import Transformer

H100 = find_device("H100", read_devices())
SHAPE = Transformer(6, 64, 4, 2, 16, 256, 1000, 128, is_tied=True)


def ring_all_gather(num_ranks: int, num_bytes: float) -> tuple[float, int]:
    """Pass chunks round a ring until every rank has all of them; return bytes that a rank sent, and rounds."""
    held = [{rank} for rank in range(num_ranks)]
    newest, sent, rounds = list(range(num_ranks)), 0.0, 0
    while any(len(chunks) < num_ranks for chunks in held):
        newest = [newest[rank - 1] for rank in range(num_ranks)]
        for rank in range(num_ranks):
            held[rank].add(newest[rank])
        sent, rounds = sent + num_bytes / num_ranks, rounds + 1
    return sent, rounds


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_gather_sends_what_a_simulated_ring_sends(size):
    traffic = Group.of(size, 1, H100).all_gather(1000.0, 1, is_hidden=False)
    sent, rounds = ring_all_gather(size, 1000.0)
    assert traffic.bytes == pytest.approx(sent)
    assert traffic.hops == rounds


def test_a_group_inside_a_node_uses_links_and_a_larger_one_the_network():
    assert Group.of(8, 1, H100).wire == "links"
    assert Group.of(16, 1, H100, uses_all_network_cards=True).bandwidth == 8 * H100.network
    assert Group.of(16, 1, H100, uses_all_network_cards=False).bandwidth == H100.network
    # data parallelism across tensor-parallel nodes: each device has its own card
    assert Group.of(4, 8, H100).bandwidth == H100.network


def test_tensor_parallelism_reduces_four_times_a_layer_and_twice_more_when_all_is_recomputed():
    layout = Layout(8, 16, 2, tensor=8)
    one_reduce = 2 * 7 / 8 * 2 * 2 * 128 * 64  # 2 bytes, 2 rows of 128 tokens, 64 wide
    assert tensor_traffic(SHAPE, layout, H100)[0].bytes == pytest.approx(4 * 6 * one_reduce)
    assert tensor_traffic(SHAPE, replace(layout, recompute="full"), H100)[0].bytes == pytest.approx(6 * 6 * one_reduce)


def test_fsdp_sends_three_times_the_weights_and_zero2_twice():
    layout = Layout(64, 64, 1, sharding="fsdp")
    params = 1e6
    sent = sum(traffic.bytes for traffic in sharding_traffic(SHAPE, layout, H100, params))
    assert sent == pytest.approx(3 * 2 * params * 63 / 64)
    zero2 = sum(traffic.bytes for traffic in sharding_traffic(SHAPE, replace(layout, sharding="zero2"), H100, params))
    assert zero2 == pytest.approx(2 * 2 * params * 63 / 64)
    assert step_traffic(SHAPE, layout, H100, params) == ()
