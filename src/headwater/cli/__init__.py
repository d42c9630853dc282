"""The verbs of the command line; the only place that reads argv and the environment."""
