"""What a store fails at: what may pass is tried again, what lasts is said at once, a lack of memory is what it is."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ProfileNotFound

from headwater.core import stores
from headwater.core.errors import DataError, PassingError
from headwater.core.stores import retried
from headwater.core.task_output import TaskOutput
from headwater.core.task_store import TaskStore

PASSES = [OSError("reset"), TimeoutError(), EndpointConnectionError(endpoint_url="s3://a")]
LASTS = [NoCredentialsError(), ProfileNotFound(profile="p"), NotImplementedError(), FileNotFoundError(), KeyError("a")]


@pytest.mark.parametrize(
    ("error", "raised", "num_tries"),
    [
        *((each, PassingError, 1 + len(stores.WAIT_SECONDS)) for each in PASSES),
        *((each, DataError, 1) for each in LASTS),
        (MemoryError(), MemoryError, 1),
    ],
)
def test_what_may_pass_is_tried_again_and_nothing_else(monkeypatch, error, raised, num_tries):
    monkeypatch.setattr(stores.time, "sleep", lambda seconds: None)
    tries = []

    def failing():
        tries.append(1)
        raise error

    with pytest.raises(raised):
        retried(failing, "s3://bucket/name", "corpus.engine.store")
    assert len(tries) == num_tries


@pytest.mark.parametrize(
    ("address", "is_secret"),
    [
        ("abfs://container@account.dfs.core.windows.net/texts", False),
        ("abfs://container:key@account.dfs.core.windows.net/texts", True),
        ("https://token@example.org/texts", True),
        ("s3://bucket/texts", False),
    ],
)
def test_an_address_with_credentials_is_refused(address, is_secret):
    if is_secret:
        with pytest.raises(DataError, match="holds credentials"):
            stores.refuse_secrets(address, "corpus.engine.store")
    else:
        stores.refuse_secrets(address, "corpus.engine.store")


@pytest.mark.parametrize("names", [["one"], ["one", "two/three"]])
def test_the_outputs_of_a_store_are_found_from_its_top(names, tmp_path):
    place = TaskStore(f"memory://{tmp_path.name}-{len(names)}", "work/mine", "corpus.engine.store", tmp_path)
    for name in names:
        with place.new(tmp_path / name, TaskOutput):
            pass
    found = place.outputs_in(tmp_path)
    assert found == sorted(tmp_path / name.split("/")[0] for name in names)
    for folder in found:
        place.remove(folder)
    assert place.outputs_in(tmp_path) == []
