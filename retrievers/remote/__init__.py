"""Memories that a server answers for: requests and answers are pure functions, HTTP is two thin connections."""
