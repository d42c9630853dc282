"""Training: loop.py is the place to begin; step.py takes a step, start.py builds what it is taken with."""
