"""The back-test of the cost model: what was observed, the fit, the table."""
