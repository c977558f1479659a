"""Indexers turn table partitions into index files: plain classes that know nothing of Ray."""
