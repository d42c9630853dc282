"""Who does the tasks of a corpus: this process, processes beside it, a Slurm cluster or a Ray cluster."""
