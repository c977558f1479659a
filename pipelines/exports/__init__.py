"""Snapshots in the forms of others: a DuckDB database, a folder of Hugging Face's datasets, HippoRAG's files."""
