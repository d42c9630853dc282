"""What a model has learned: bits per byte, probes, baselines."""
