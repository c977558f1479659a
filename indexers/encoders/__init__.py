"""Encoders: texts become vectors."""

from mnemodex.indexers.encoders.base import Encoded, EncodeStats, TextEncoder, Window, encoder_hash, open_encoder

__all__ = ["EncodeStats", "Encoded", "TextEncoder", "Window", "encoder_hash", "open_encoder"]
