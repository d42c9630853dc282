"""The loop and what survives it: begin with loop.py; `checkpoint/`, trackers."""
