"""The text that indexes read of a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa


def passages(batch: pa.RecordBatch | pa.Table, *, with_title: bool = True) -> list[str]:
    """Title, a line end and text of each chunk; the text alone where there is no title or `with_title` is off."""
    text = batch["text"]
    if not with_title:
        return text.to_pylist()  # type: ignore[no-any-return]
    joined = pc.binary_join_element_wise(batch["title"], text, "\n")
    return pc.if_else(pc.equal(batch["title"], ""), text, joined).to_pylist()  # type: ignore[no-any-return]
