"""The stages of a run in their order and what came of them; `Model`, `Corpus` and `Records` for notebooks."""
