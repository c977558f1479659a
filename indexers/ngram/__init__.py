"""n-gram memory: an FM-index over token ids, in shards that are built from a stream and opened by mmap."""

from mnemodex.indexers.ngram.build import BuildOptions, build
from mnemodex.indexers.ngram.index import FMIndex
from mnemodex.indexers.ngram.ragged import Ragged, Vocabulary
from mnemodex.indexers.ngram.shard import FMShard

__all__ = ["BuildOptions", "FMIndex", "FMShard", "Ragged", "Vocabulary", "build"]
