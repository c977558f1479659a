"""Small installed packages: modules and a `dist-info` folder on the import path."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from mnemodex.schemas.kinds import CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, KINDS, SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

REGISTRIES = (KINDS, CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, SOURCES)


class Packages:
    """Installs packages into a folder; `forget` makes the registries look again.

    Args:
        folder: the folder; it is put on the import path.
        patch: takes it away again.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        patch.syspath_prepend(folder)
        self._modules: set[str] = set()

    def install(
        self, name: str, version: str = "1.0", *, points: Mapping[str, Mapping[str, str]], **modules: str
    ) -> None:
        """Write a package, or the next version of it.

        Args:
            name: of the distribution.
            version: of it.
            points: entry points, by group and name.
            modules: the source of each of its modules.
        """
        for former in self.folder.glob(f"{name}-*.dist-info"):
            for file in former.iterdir():
                file.unlink()
            former.rmdir()
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [
            line
            for group, named in points.items()
            for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(source)
        self.forget()
        self._modules |= modules.keys()

    def forget(self) -> None:
        """Make the registries and Python look again, as a new process does."""
        importlib.invalidate_caches()
        for registry in REGISTRIES:
            vars(registry).pop("_points", None)
        for module in self._modules:
            sys.modules.pop(module, None)
