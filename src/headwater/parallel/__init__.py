"""How one update is spread over ranks. Today: data parallel alone."""
