"""Retrievers of other libraries over memories, opened or connected. Each module needs the extra of its name."""
