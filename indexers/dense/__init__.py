"""Dense indexes: FAISS or hnswlib over embeddings, tuned to a recall target and measured."""

from __future__ import annotations

from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.dense.settings import DenseSettings
from mnemodex.indexers.dense.threads import set_threads
from mnemodex.schemas.manifest import Recall

__all__ = ["DenseSettings", "DenseIndexer", "DenseSearcher", "Recall", "set_threads"]
