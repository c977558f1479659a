"""Every exception that Mnemodex raises on purpose.

An error is one message that names the file, line or key and the remedy. `UserError` means that the user's input is
wrong (exit code 2); everything else that goes wrong is a plain `MnemodexError` (exit code 1).
"""

from __future__ import annotations

_LONGEST = 1900
"""Characters of a message."""

START_OVER = (
    "restore it from a copy, or remove CURRENT and the folder snapshots and build again, which finds what is computed"
)
"""The remedy where what names a memory's files is damaged: results are found again by their markers."""


def shorten(message: str) -> str:
    """Return a message with its middle left out where it quotes too much: the remedy is at its end."""
    if len(message) <= _LONGEST:
        return message
    half = _LONGEST // 2
    return f"{message[:half]} [{len(message) - 2 * half} characters left out] {message[-half:]}"


def reason(error: Exception) -> str:
    """Return what an exception says; of the system's, without its number and the path, which our messages name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


class MnemodexError(Exception):
    """Something failed; the message says what, and what to do."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(shorten(message))


class UserError(MnemodexError):
    """The user's input is wrong: a recipe, a source, a question, a path."""

    exit_code = 2


class RecipeError(UserError):
    """The recipe has an unknown key, a bad value, or names something that is not there."""


class SourceError(UserError):
    """A source file is missing, empty, not readable as its format, or has too many bad rows."""


class DuplicateKeyError(SourceError):
    """Two documents have the same key and different content."""


class PluginError(RecipeError):
    """An installed package that adds to Mnemodex cannot be loaded, or clashes with another."""


class MissingExtraError(UserError, ImportError):
    """Something needs an optional package that is not installed; the message names the extra."""


class ModelError(UserError):
    """A model is not there, is not what it says, or is not the one an index was built with."""


class QueryError(UserError):
    """A question, filter or SQL statement cannot be answered as it is."""


class AccessError(UserError):
    """A key may not do what was asked with it."""


class KeyRefusedError(UserError):
    """A request has no key, one that is not known, or one that was revoked."""


class RateError(UserError):
    """A key asks more often than it may.

    Attributes:
        retry_after: seconds after which it may ask again.
    """

    def __init__(self, message: str = "", *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownIndexError(QueryError):
    """A memory has no index of that name."""


class UnknownMemoryError(UserError):
    """A server serves no memory of that name."""


class LimitError(UserError):
    """A request asks for more than the server gives to one."""


class BusyError(MnemodexError):
    """A server has as many requests as it takes; later it takes others."""


class RequestTimeoutError(MnemodexError):
    """A request took longer than a server lets one take."""


class MemoryNotFoundError(UserError):
    """The folder is not a memory, or has no committed snapshot."""


class SnapshotNotFoundError(UserError):
    """A memory has no snapshot of that number."""


class PinnedSnapshotError(MnemodexError):
    """A snapshot that is to be removed is open in another program."""


class SnapshotRefusedError(MnemodexError):
    """A server does not serve the newest snapshot of a memory, but the one before."""


class NewerFormatError(UserError):
    """The memory was written by a newer version of Mnemodex."""


class OlderFormatError(UserError):
    """The memory was written by a version of Mnemodex whose format this one does not read."""


class CorruptFileError(MnemodexError):
    """A file of the memory is missing or differs from its checksum."""


class ObjectStoreError(MnemodexError, OSError):
    """An object store cannot be reached, or did not do what it was asked for."""


class ObjectStoreRefusedError(UserError, ObjectStoreError):
    """An object store refuses the credentials, has no such bucket, or lacks what a memory needs."""


class NodeCacheError(MnemodexError):
    """This machine cannot keep a copy of a file of an object store; the file itself may be sound."""


class ForkedProcessError(MnemodexError):
    """A process is a fork of one whose libraries have threads, which it lacks."""


class WriterBusyError(MnemodexError):
    """Another build holds the memory's writer lock."""


class CommitFailedError(MnemodexError):
    """The commit did not happen; the former snapshot is still current."""


class CommitStateUnknownError(MnemodexError):
    """The commit may or may not have happened; look at the current snapshot before trying again."""


class RayStartError(MnemodexError):
    """Ray could not be started on this machine, or no cluster answers at the address."""


class NodeError(MnemodexError):
    """A node of the cluster has no package, or another version of it or of a library than the driver's node."""


class StageFailedError(MnemodexError):
    """A partition could not be processed; the message names the stage and the partition."""


class NotFiniteError(MnemodexError):
    """A vector holds NaN or infinity."""


class IdCollisionError(MnemodexError):
    """Two different rows of a snapshot have the same 63-bit id."""


class ExportError(UserError):
    """What is to be written would overwrite something, or cannot be written there."""


class ServerError(MnemodexError):
    """A server of memories cannot be reached, or does not answer as one does."""


class ChatServerError(MnemodexError):
    """A chat server answers no question at all: it is not there, or refuses the key, the model or further questions."""


class FeedbackError(MnemodexError):
    """What somebody thinks of a hit cannot be written down."""


class NoAnswerError(MnemodexError):
    """A chat server gave no answer to one question; it may answer others."""


class TooLongError(NoAnswerError):
    """A question, with all that stands before it, is longer than a model reads.

    Attributes:
        excess: by how many tokens; None where a server does not say.
    """

    def __init__(self, message: str = "", *, excess: int | None = None) -> None:
        super().__init__(message)
        self.excess = excess
