"""A memory opened for reading: the entrance of the Python API."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from mnemodex.indexers.forks import claim_threads
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.retrievers.weak import weak
from mnemodex.schemas.errors import (
    START_OVER,
    CorruptFileError,
    MemoryNotFoundError,
    ModelError,
    QueryError,
    RecipeError,
)
from mnemodex.schemas.kinds import ENCODERS, KINDS, load
from mnemodex.schemas.passed import PassedEmbedding, identity_of
from mnemodex.schemas.spec import Ref
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.validation import say_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.answer import Answer
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.history import DatedFact
    from mnemodex.retrievers.sql import Connection
    from mnemodex.schemas.kinds import Kind
    from mnemodex.schemas.manifest import EncoderEntry
    from mnemodex.schemas.spec import Spec
    from mnemodex.schemas.store.object_url import Root


class Memory:
    """One snapshot of a memory, its retrievers and its SQL. Not changed by later builds; open it again to see those."""

    def __init__(
        self, path: str | Root, *, snapshot: str | int | None = None, encoders: Mapping[str, Any] | None = None
    ) -> None:
        """Open a snapshot.

        Args:
            path: the memory's folder.
            snapshot: its number; the current one by default.
            encoders: the objects that were passed to `build`, by the names of their embeddings.

        Raises:
            MemoryNotFoundError: there is no memory, or nothing was committed yet.
            SnapshotNotFoundError: there is no snapshot of that number.
            CorruptFileError: `CURRENT` or the manifest is damaged.
        """
        self._begin(Snapshot.open(path, snapshot=snapshot), _sections(encoders or {}))

    def _begin(self, snapshot: Snapshot, objects: Mapping[str, Any]) -> None:
        self.snapshot = snapshot
        self._objects = objects
        self._retrievers: dict[str, Retriever] = {}
        self._encoders: dict[str, TextEncoder] = {}

    @classmethod
    def of(cls, snapshot: Snapshot, *, objects: Mapping[str, Any]) -> Self:
        """Return the memory of a snapshot, which may be one that is still built.

        `objects` are what the caller of `build` passed, by the name of its section: `embed/NAME`.
        """
        memory = cls.__new__(cls)
        memory._begin(snapshot, objects)
        return memory

    @classmethod
    def sound(cls, path: str | Root) -> Memory | None:
        """Open the newest snapshot whose manifest is not damaged; None where there is none.

        It may be an old one: for servers, which say so.
        """
        store = Store(path)
        manifest = store.sound()
        return None if manifest is None else cls.of(Snapshot(store, manifest), objects={})

    def __repr__(self) -> str:
        from mnemodex.retrievers.display import memory_text, shown_of

        return memory_text(str(self.snapshot.store.root), shown_of(self.snapshot.manifest))

    def _repr_html_(self) -> str:
        from mnemodex.retrievers.display import memory_html, shown_of

        return memory_html(str(self.snapshot.store.root), shown_of(self.snapshot.manifest))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the snapshot's name: the other process opens that snapshot by itself."""
        passed = {name.removeprefix("embed/"): encoder for name, encoder in self._objects.items()}
        manifest = self.snapshot.manifest
        return reopen, (self.snapshot.store.root.absolute(), manifest.name, manifest.created, passed)

    def newer(self, *, again: bool = False) -> Memory | None:
        """Return the memory of the newest snapshot; None where that is this one, unless it is to be opened `again`.

        The encoders of embeddings that are the same are this memory's, and files that this one has checked are not
        checked again unless they changed.

        Raises:
            CorruptFileError: the newest snapshot's manifest is damaged.
        """
        store, own = self.snapshot.store, self.snapshot.manifest
        snapshot = Snapshot.current(store)
        if snapshot is None:
            raise MemoryNotFoundError(f"{store.root}: has no snapshot any more; build the memory again")
        manifest = snapshot.manifest
        if not again and (manifest.name, manifest.created) == (own.name, own.created):
            return None
        memory = type(self).of(snapshot, objects=self._objects)
        for name, encoder in self._encoders.items():
            if manifest.encoders.get(name) == own.encoders[name]:
                memory._encoders[name] = encoder
        return memory

    def close(self) -> None:
        """Let go of the snapshot, which may be collected from there on, and of what `release` lets go of."""
        self.release()
        self.snapshot.unpin()

    def release(self) -> None:
        """Let go of the retrievers, the encoders, the database and the rows that are kept; a search that runs ends."""
        self.snapshot.release()
        self._retrievers.clear()
        self._encoders.clear()
        connection = self.__dict__.pop("_sql", None)
        if connection is not None:
            connection.close()

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes."""
        return list(self.snapshot.manifest.indexes)

    def retriever(self, name: str) -> Retriever:
        """Return the retriever of an index, opened at the first call."""
        if name not in self._retrievers:
            retriever, entry = self.kind(name).retriever, self.snapshot.index(name)
            with KINDS.calling(entry.type) as kind, _checking(f"index {name!r}"):
                _check_filled(name, load(kind.settings).model_validate(entry.settings))
                self._retrievers[name] = load(retriever)(self, entry)
        return self._retrievers[name]

    def kind(self, name: str) -> Kind:
        """Return the kind of an index.

        Raises:
            QueryError: there is no such index, or the package that declares its kind is not installed.
        """
        try:
            return KINDS.find(self.snapshot.index(name).type)
        except RecipeError as error:
            raise QueryError(f"index {name!r} cannot be opened: {error}") from error

    def sql(self, query: str, *, seconds: float = 60.0) -> Answer:
        """Run one SELECT over the tables and indexes, read-only, without access to anything else, and fetch its rows.

        Args:
            query: the statement, or EXPLAIN and the statement.
            seconds: how long it may run.

        Raises:
            QueryError: the statement is not one SELECT or EXPLAIN, is wrong, fails, or takes too long.
        """
        claim_threads()
        return self._sql.query(query, seconds=seconds)

    def history(self, entity: str, *, newest: bool = False) -> list[DatedFact]:
        """Return the facts of an entity, as subject or as object, by time, those without a time first.

        A subject and a predicate have one value where no two objects are stated at the same time; then each value holds
        until the next one is stated, and the same value may come back. Of others, all facts hold. The view `history` of
        SQL has the same rows of all entities.

        Args:
            entity: a name, which is compared in its normal form.
            newest: only the facts that still hold.

        Raises:
            QueryError: the memory has no facts; documents have no field of times; or several, and `triples.time` of the
                recipe names none.
        """
        from mnemodex.retrievers.history import facts_of

        return facts_of(self, entity, newest=newest)

    def ids_where(self, where: str) -> Int64s:
        """Return the ids of the chunks that a `where` expression keeps, int64, ascending."""
        claim_threads()
        return self._sql.ids_where(where)

    def keys_where(self, where: str) -> list[str]:
        """Return the keys of the documents that a boolean expression over `documents d` keeps, in no order."""
        claim_threads()
        return self._sql.keys_where(where)

    @cached_property
    def _sql(self) -> Connection:
        from mnemodex.retrievers.sql import Connection

        # DuckDB keeps its functions where Python's collector does not look: a strong reference would never end.
        return Connection(self.snapshot, weak(self.encoder), weak(self.retriever))

    def encoder(self, name: str) -> TextEncoder:
        """Return the encoder of an embedding, loaded at the first call.

        Raises:
            ModelError: the model is not there, or is not the one that the memory was built with.
            QueryError: there is no such embedding.
        """
        if name not in self._encoders:
            built = self.snapshot.manifest.encoders.get(name)
            if built is None:
                names = ", ".join(self.snapshot.manifest.encoders) or "none"
                raise QueryError(f"no embedding {name!r}; there are: {names}")
            self._encoders[name] = self._open_encoder(name, built)
        return self._encoders[name]

    def _open_encoder(self, name: str, built: EncoderEntry) -> TextEncoder:
        from mnemodex.indexers.encoders import encoder_hash, open_encoder

        try:
            entry = ENCODERS.find(built.settings.get("encoder"))
        except RecipeError as error:
            raise QueryError(f"embedding {name!r} cannot be opened: {error}") from error
        with _checking(f"embedding {name!r}"):
            settings = load(entry.settings).model_validate(built.settings)
        if encoder_hash(settings) != built.sha256:
            model = getattr(settings, "model", settings)
            raise ModelError(
                f"embedding {name!r} was built with another {model!r} (SHA-256 {built.sha256[:12]}…) than the one "
                "installed here; install that one, or build again"
            )
        self._check_passed(name, settings, built)
        return open_encoder(settings, objects=self._objects)

    def _check_passed(self, name: str, settings: Spec, built: EncoderEntry) -> None:
        """Refuse an object other than the one that was passed to `build`."""
        passed = self._objects.get(f"embed/{name}")
        if not isinstance(settings, PassedEmbedding) or passed is None:
            return
        if identity_of(passed) != settings.identity_of or passed.dimension != built.dimension:
            raise ModelError(
                f"embedding {name!r} was built with another encoder than the {type(passed).__name__} that was passed; "
                "pass that one, or build again. An attribute `identity` says what makes two encoders the same"
            )


def reopen(path: Root, name: str, created: str, encoders: Mapping[str, Any]) -> Memory:
    """Open a snapshot that may be older than the current one."""
    store = Store(path)
    manifest = store.named(name)
    if manifest.created != created:
        raise MemoryNotFoundError(f"{path}: snapshot {name} of {created} is no longer there; open the memory again")
    return Memory.of(Snapshot(store, manifest), objects=_sections(encoders))


def _sections(encoders: Mapping[str, Any]) -> dict[str, Any]:
    """Return encoders by the names of their sections of a recipe."""
    return {f"embed/{name}": encoder for name, encoder in encoders.items()}


def _check_filled(name: str, settings: Spec) -> None:
    """Refuse settings that do not name what the index was made of, which a recipe may leave open."""
    for leaf in settings.leaves():
        ref: Ref | None = leaf.marker(Ref)
        if ref is not None and ref.default != "none" and leaf.value is None:
            raise CorruptFileError(f"index {name!r}: the manifest does not say its {leaf.path[0]}; {START_OVER}")


@contextlib.contextmanager
def _checking(what: str) -> Iterator[None]:
    """Say of settings in a manifest that are none that this is damage."""
    try:
        yield
    except ValidationError as error:
        raise CorruptFileError(
            f"{what}: the manifest's settings are none of its type ({say_first(error)}); build again, or {START_OVER}"
        ) from error
