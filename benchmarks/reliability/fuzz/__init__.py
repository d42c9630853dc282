"""Fuzzers: one harness a parser of foreign bytes."""
