"""Training: loop.py is the place to begin; tried_step.py tries a step, step.py computes it."""
