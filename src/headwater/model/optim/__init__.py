"""One update: parameter groups, AdamW, Muon, schedules, and the rules that choose their settings."""
