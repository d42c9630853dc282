"""Named, complete run files, and the stages that a run file describes."""
