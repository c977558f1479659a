"""Dense indexes: FAISS or hnswlib over embeddings, tuned to a recall target and measured."""

from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.settings import DenseSettings

__all__ = ["DenseSettings", "DenseIndexer", "DenseSearcher", "set_threads"]
