from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_memory import build_small

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def small_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`source` and `memory`, of two snapshots, with rows in all tables and all kinds of indexes. Leave it as it is."""
    folder = tmp_path_factory.mktemp("small")
    build_small(folder)
    return folder
