"""The tables of the knowledge graph: facts, entities, their vectors, synonyms and edges."""
