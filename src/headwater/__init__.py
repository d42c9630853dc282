"""Headwater: from raw text to a foundation model."""
