"""How one update is spread over ranks: rows, weights and the work of layers."""
