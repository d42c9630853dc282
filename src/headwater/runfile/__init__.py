"""One file describes a run: settings, the rules that fill in the rest, recipes."""
