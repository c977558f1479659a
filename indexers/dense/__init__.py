"""Dense indexes: FAISS or hnswlib over embeddings, tuned to a recall target and measured."""
