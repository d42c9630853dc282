"""What a run file says of its text: settings of the corpus, and the names of licences and files they are checked by.

Every verb reads it, so it loads nothing of what builds a corpus.
"""
