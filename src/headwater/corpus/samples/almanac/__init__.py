"""Facts, sums and causes as prose, with phrasings and items held out for the probes."""
