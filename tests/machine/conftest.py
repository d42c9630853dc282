from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """A machine sets threads and determinism for its whole process; undo it, and begin with one thread."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = fill
