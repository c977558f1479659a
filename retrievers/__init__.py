"""Retrievers open an index of a snapshot and answer batches of queries with hits."""
