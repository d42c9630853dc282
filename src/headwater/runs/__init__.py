"""A run file becomes a run: `run_config.load_run` reads one, `running.run` brings all its stages up to date."""
