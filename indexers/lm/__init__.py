"""A causal language model's states: keys, surprisal and entropy of every token of a text."""
