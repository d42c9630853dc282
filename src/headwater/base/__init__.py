"""Other models as ours: what a run can start from."""
