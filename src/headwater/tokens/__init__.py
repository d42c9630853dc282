"""The token store: ids on disk, checksummed."""
