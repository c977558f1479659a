"""Searching an n-gram index: phrases in, counts, places, continuations and chunks out."""
