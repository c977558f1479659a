"""How much each edge counts, all kinds together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph


def weights(
    graph: Graph, *, fact: float = 1.0, mention: float = 1.0, synonym: float = 1.0, overwrite: bool = False
) -> NDArray[np.float32]:
    """One weight for each pair of nodes, float32 of shape (pairs,).

    Args:
        graph: the arrays.
        fact: what a triple that joins two entities counts.
        mention: what the mention of an entity in a passage counts.
        synonym: what a synonym edge counts, times its cosine.
        overwrite: whether the facts that join two synonyms do not count (HippoRAG's way, in which the cosine takes the
            place of the number of triples).
    """
    facts = np.asarray(graph.fact)
    if overwrite:
        facts = np.where(np.asarray(graph.synonym) > 0, np.float32(0), facts)
    total: NDArray[np.float32] = facts * np.float32(fact)
    total += np.float32(mention) * graph.mention
    total += np.float32(synonym) * graph.synonym
    return total
