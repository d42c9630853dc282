"""What every room stands on: files that survive, records, the base of settings, errors, numbers."""
