"""What becomes of each document, decided by columns alone, in DuckDB: limits, duplicates, the split. No text is read."""
