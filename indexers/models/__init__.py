"""Models by name: folders, hashes, tokenizers, language models, and clients of servers."""
