"""Models of others: where they are, what they are, their tokens, and how they are asked."""
