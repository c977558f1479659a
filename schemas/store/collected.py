"""Which snapshots of a memory were collected: `snapshots/collected.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import CorruptFileError, ObjectStoreError
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.schemas.store.files import Files

COLLECTED = "snapshots/collected.json"


@dataclass(frozen=True, slots=True)
class Gap:
    """Snapshots that follow each other and were all collected.

    Attributes:
        newest: the name of the last one.
        oldest: the name of the first one.
        parent: the snapshot before it; None where there is none.
        parent_sha256: the checksum of that one's manifest.
    """

    newest: str
    oldest: str
    parent: str | None = None
    parent_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """What was collected; the file is written before anything is removed.

    Attributes:
        gaps: in the history, newest first.
        pending: whether files may be left that no snapshot names, because a collection was stopped.
    """

    gaps: tuple[Gap, ...] = ()
    pending: bool = False

    def __contains__(self, name: str) -> bool:
        return self.gap(name) is not None

    def gap(self, name: str | None) -> Gap | None:
        """Return the gap that a snapshot is in."""
        return next((gap for gap in self.gaps if name is not None and gap.oldest <= name <= gap.newest), None)

    @classmethod
    def read(cls, files: Files) -> Collected:
        """Read the file; nothing was collected where there is none.

        Raises:
            CorruptFileError: it is damaged.
        """
        try:
            value = unseal(files.read(COLLECTED))
            return cls(tuple(Gap(**gap) for gap in value["gaps"]), pending=value["pending"])
        except FileNotFoundError:
            return cls()
        except ObjectStoreError:
            raise
        except (OSError, TypeError, KeyError) as error:
            raise CorruptFileError(
                f"{files.root / COLLECTED}: is damaged, and says which snapshots were removed; restore it from a copy, "
                "or remove CURRENT and the folder snapshots, and build again, which finds what is computed"
            ) from error

    def write(self, files: Files) -> None:
        """Write the file, durably."""
        value: dict[str, Any] = {"gaps": [asdict(gap) for gap in self.gaps], "pending": self.pending}
        files.put(COLLECTED, seal(value))

    def finished(self) -> Collected:
        """Return it after everything was removed."""
        return replace(self, pending=False)


def gaps_between(kept: Iterable[tuple[str, str | None, str]]) -> tuple[Gap, ...]:
    """Return the gaps of a history of which some snapshots are kept.

    Args:
        kept: name, parent and checksum of each of them, newest first.
    """
    gaps: list[Gap] = []
    snapshots = list(kept)
    for (_, parent, _), older in zip(snapshots, [*snapshots[1:], None], strict=True):
        if older is None and parent is not None:
            gaps.append(Gap(parent, f"{1:06d}"))
        elif older is not None and parent is not None and parent != older[0]:
            gaps.append(Gap(parent, f"{int(older[0]) + 1:06d}", older[0], older[2]))
    return tuple(gaps)
