"""One machine and this process on it: threads, memory, load, energy, signals."""
