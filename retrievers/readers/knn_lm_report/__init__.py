"""What a next-token datastore does for a language model: perplexity, tuning, and what it writes with it."""
