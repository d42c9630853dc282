"""Rows of published tables as jobs to estimate. Columns that hold results are never read. No torch."""
