"""Readers: the language models that use a memory. Only here, and where models are loaded, torch is imported."""
