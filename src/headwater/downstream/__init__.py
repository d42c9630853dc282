"""The hand-off: tune, align, and examine what each stage changed."""
