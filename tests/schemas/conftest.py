from __future__ import annotations

import pytest

from mnemodex.schemas.store.store import Store


@pytest.fixture
def store(tmp_path):
    """An empty memory."""
    made = Store(tmp_path / "memory")
    made.prepare()
    return made
