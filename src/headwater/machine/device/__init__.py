"""One device: its settings, number formats, compilation and matrix-multiply peak."""
