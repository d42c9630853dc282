"""What becomes of each document, decided by columns alone, in DuckDB: limits, duplicates, split. No text is read."""
