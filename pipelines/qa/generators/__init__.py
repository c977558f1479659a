"""Generators of question-answer pairs, and what they are made of: where answers are, and how questions are asked."""
