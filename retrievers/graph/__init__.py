"""Retrieval by walking a knowledge graph: HippoRAG's two methods, and bridges that need no language model."""
