"""SEAL: documents by the n-grams that a language model, or the question itself, makes (Bevilacqua et al., 2022)."""
