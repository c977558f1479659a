"""Changes of a memory: documents are added, updated and deleted without reading its source again."""
