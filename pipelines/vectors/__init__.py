"""Tables and indexes of vectors: embeddings of chunks and names, questions, dense indexes."""
