"""Chunkers: documents become chunks with exact character offsets."""
