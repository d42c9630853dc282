"""Other models as ours, exactly or not at all: what a run can start from."""
