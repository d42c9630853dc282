"""The trainers that are compared, one module each, all of one shape.

`MODES` names the dtypes and ways to run that its users can choose between; without torch, so that it can be read
before anything is started. `train(job, watch)` builds the model and trains with the contender's own code until
`watch` ends it: forward, backward, clipping where the contender clips by default, update. It raises ContenderMissing
where something isn't installed. Nothing of a peer is copied here: what can be imported is imported when it runs.
"""

from __future__ import annotations

import importlib

# name in the table -> module here
INSTALLED = {
    "headwater": "headwater",
    "headwater-bfloat16": "headwater_bfloat16",
    "transformers": "transformers_trainer",
}
REPOSITORIES = {"nanoGPT": "nanogpt", "nanochat": "nanochat"}


def modes(module: str) -> tuple[str, ...]:
    return importlib.import_module(f"contenders.{module}").MODES
