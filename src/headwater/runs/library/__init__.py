"""What a notebook, the command line and the page use alike: a run, its model, its corpus, its records."""
