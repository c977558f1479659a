"""Indexes: the steps that an indexer needs, and what the manifest keeps of the result."""
