"""The knowledge graph: entities and passages, joined by facts, mentions and synonymy, as arrays that are mapped."""
