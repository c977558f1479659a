"""Questions by rules over spaCy's parse: clauses of sentences, turned about an answer (Heilman and Smith, 2010)."""
