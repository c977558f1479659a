"""Sources: files of the user that become documents."""

from mnemodex.pipelines.sources.open import FORMATS, open_source

__all__ = ["FORMATS", "open_source"]
