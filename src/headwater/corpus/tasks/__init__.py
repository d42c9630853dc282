"""The tasks that a corpus is made of: each reads files, writes one folder, and may be done by any process."""
