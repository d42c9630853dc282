"""A training state that survives any crash."""
