"""Question-answer pairs: read from a file, tied to their passages, gathered by question."""
