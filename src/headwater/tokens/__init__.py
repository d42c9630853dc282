"""Ids: `tokenizer/`, the store on disk, and `batches/`, which rows are read at which step."""
