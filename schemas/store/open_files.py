"""Opening the place where a memory lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.schemas.store.local_files import LocalFiles
from mnemodex.schemas.store.object_url import ObjectUrl

if TYPE_CHECKING:
    from mnemodex.schemas.store.files import Files
    from mnemodex.schemas.store.object_url import Root


def open_files(root: Root) -> Files:
    """Return the files of a memory.

    Raises:
        ObjectStoreRefusedError: what an object store needs is not in the environment.
    """
    if not isinstance(root, ObjectUrl):
        return LocalFiles(root)
    from mnemodex.schemas.store.object_files import ObjectFiles

    return ObjectFiles(root)
