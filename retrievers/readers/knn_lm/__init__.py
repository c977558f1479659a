"""kNN-LM: a language model whose next-token probabilities are mixed with those of a datastore's nearest entries."""

from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM, Stats
from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, Mixing
from mnemodex.retrievers.readers.knn_lm.pointers import Pointers

__all__ = ["KnnLM", "Mixing", "Buckets", "Pointers", "Stats"]
