"""Which licence a text is under: names, texts, the licence files of packages and trees, and what is allowed.

It reads no corpus: `read`, `fetch` and the steps of a corpus call it, never the other way round.
"""
