"""One update: parameter groups, AdamW, Muon, schedules."""
