"""A table's law takes no settings of a run."""

from __future__ import annotations

import pytest

import headwater
from headwater.core.errors import ConfigError


@pytest.mark.parametrize(
    "given", [{"loss_colum": "other"}, {"overrides": ["train.num_steps=9"]}, {"train": {"seed": 1}}]
)
def test_what_a_table_has_no_use_for_is_refused(tmp_path, given):
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="small runs of RUN"):
        headwater.ladder(table=tmp_path / "runs.csv", **given)
