"""What is kept out of a corpus for others' sake: evaluation sets, personal data, licences, the probes of a run."""
