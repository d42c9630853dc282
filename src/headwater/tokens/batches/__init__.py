"""Which tokens, in what order."""
