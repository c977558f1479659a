"""What the entry points of this package name: dotted names only, so that nothing is imported before it is used."""

from mnemodex.schemas.kinds import Component, Kind

COPIES = Kind(
    settings="mnemodex_example.copies:CopiesSettings",
    tables="mnemodex_example.copies:tables",
    steps="mnemodex_example.copies:steps",
    retriever="mnemodex_example.copies_retriever:CopiesRetriever",
)
"""Near copies of passages, by MinHash."""

MBOX = Component("mnemodex.schemas.source_sections:Source", "mnemodex_example.mbox:MboxSource")
"""Mailboxes: every message is a document."""

PARAGRAPHS = Component("mnemodex_example.paragraphs:ParagraphSettings", "mnemodex_example.paragraphs:ParagraphChunker")
"""Chunks that end at blank lines."""

PATTERN = Component("mnemodex_example.pattern:PatternSettings", "mnemodex_example.pattern:PatternExtractor")
"""Triples of "X is a Y" sentences."""

HASHING = Component("mnemodex_example.hashing:HashingSettings", "mnemodex_example.hashing:HashingEncoder")
"""Vectors of hashed words, without a model."""
