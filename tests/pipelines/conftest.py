from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from library import records, words_recipe, write_parts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """Six documents in two files of the folder `notes`, and BM25 over them in `memory`."""
    return words_recipe(write_parts(tmp_path / "notes", records()[:6], 2), tmp_path / "memory")


@pytest.fixture
def recipe_file(tmp_path: Path, recipe: dict[str, Any]) -> Path:
    """The same as a file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path
