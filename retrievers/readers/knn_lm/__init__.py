"""kNN-LM: a language model whose next-token probabilities are mixed with those of a datastore's nearest entries."""
