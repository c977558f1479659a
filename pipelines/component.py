"""What the recipe names for a step's work: an extractor, a generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.base import Work


class RecipeComponent(Protocol):
    """Does the work of a step as a section of the recipe says; what it needs is checked before a build."""

    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the output changes."""

    def __init__(self, settings: Any, work: Work) -> None:
        """Take the recipe's section and what an op may use; load what is needed, once a worker."""

    @classmethod
    def check(cls, settings: Any) -> None:
        """Refuse settings whose files, models or packages are missing, with a `MnemodexError`, before any work."""

    @classmethod
    def probe(cls, settings: Any, work: Work) -> list[str]:
        """Ask the server of the settings one question, before any work; return warnings.

        Raises:
            MnemodexError: it does not answer.
        """
        return []
