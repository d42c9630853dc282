"""What a model has learnt: bits per byte, abilities, baselines."""
