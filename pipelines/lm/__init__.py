"""A language model's states as tables: its tokens, and what it had in mind in front of each."""
