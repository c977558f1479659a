"""Extractors: chunks become triples."""
