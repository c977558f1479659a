"""SEAL: documents by the n-grams that a language model, or the question itself, makes of them (Bevilacqua et al., 2022)."""
