"""What tests of runs have ready: tests/prepared_run.py."""

from prepared_run import finished_copy, finished_run, prepare, quiet_machine  # noqa: F401
