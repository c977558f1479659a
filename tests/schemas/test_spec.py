"""Settings with markers: what is found of them at every depth, and what decides files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SerializeAsAny, ValidationError, create_model

from mnemodex.schemas.spec import ModelRef, ReadBy, RecipePath, Ref, RunOnly, SearchOnly, Spec


class Inner(Spec):
    plain: int = 1
    path: Annotated[str, RecipePath()] = "inner.txt"


class Deep(Spec):
    """Markers at every depth."""

    bare: Annotated[str, RecipePath] = "bare"
    maybe: Annotated[str, RecipePath()] | None = None
    within: Annotated[str | None, RecipePath()] = None
    listed: list[Annotated[str, ModelRef()]] = Field(default_factory=list)
    several: tuple[Annotated[str, Ref("index")], ...] = ()
    pair: tuple[Annotated[str, RecipePath()], int] = ("first", 2)
    named: dict[str, Annotated[str, ModelRef("tokenizer")]] = Field(default_factory=dict)
    union: Literal["auto"] | Annotated[str, RecipePath()] = "auto"
    inner: Inner = Inner()
    searched: Annotated[Inner, SearchOnly()] = Inner()
    specs: list[Inner] = Field(default_factory=list)
    by_name: dict[str, Inner | None] = Field(default_factory=dict)
    nested: dict[str, list[Annotated[str, RecipePath()]]] = Field(default_factory=dict)
    anything: Any = None


def found(spec: Spec, marker: type[Any]) -> list[str]:
    """Where leaves with a marker are."""
    return [".".join(leaf.path) for leaf in spec.leaves() if leaf.marker(marker)]


FULL = Deep(
    maybe="maybe",
    within="within",
    listed=["a", "b"],
    several=("c", "d"),
    named={"e": "model"},
    union="not auto",
    specs=[Inner(), Inner(plain=2)],
    by_name={"some": Inner(), "none": None},
    nested={"x": ["y", "z"]},
    anything={"k": [1, {"l": "m"}]},
)


class TestLeaves:
    def test_every_value_is_a_leaf_in_the_order_of_the_fields(self):
        assert [(".".join(leaf.path), leaf.value) for leaf in FULL.leaves()] == [
            ("bare", "bare"),
            ("maybe", "maybe"),
            ("within", "within"),
            ("listed.0", "a"),
            ("listed.1", "b"),
            ("several.0", "c"),
            ("several.1", "d"),
            ("pair.0", "first"),
            ("pair.1", 2),
            ("named.e", "model"),
            ("union", "not auto"),
            ("inner.plain", 1),
            ("inner.path", "inner.txt"),
            ("searched.plain", 1),
            ("searched.path", "inner.txt"),
            ("specs.0.plain", 1),
            ("specs.0.path", "inner.txt"),
            ("specs.1.plain", 2),
            ("specs.1.path", "inner.txt"),
            ("by_name.some.plain", 1),
            ("by_name.some.path", "inner.txt"),
            ("by_name.none", None),
            ("nested.x.0", "y"),
            ("nested.x.1", "z"),
            ("anything.k.0", 1),
            ("anything.k.1.l", "m"),
        ]

    def test_markers_are_found_at_every_depth(self):
        assert found(FULL, RecipePath) == [
            *("bare", "maybe", "within", "pair.0", "union", "inner.path", "searched.path"),
            *("specs.0.path", "specs.1.path", "by_name.some.path", "nested.x.0", "nested.x.1"),
        ]
        assert found(FULL, ModelRef) == ["listed.0", "listed.1", "named.e"]
        assert found(FULL, Ref) == ["several.0", "several.1"]
        assert found(FULL, SearchOnly) == ["searched.plain", "searched.path"]

    def test_a_leaf_has_the_marker_as_it_was_written(self):
        parts = {leaf.marker(ModelRef).part for leaf in FULL.leaves() if leaf.marker(ModelRef)}
        assert parts == {"weights", "tokenizer"}
        assert all(leaf.marker(ModelRef) is None for leaf in Inner().leaves())

    def test_what_is_not_given_has_the_markers_that_it_would_have(self):
        assert found(Deep(), RecipePath) == ["bare", "maybe", "within", "pair.0", "inner.path", "searched.path"]

    def test_a_member_of_a_union_has_its_own_markers(self):
        assert "union" not in found(Deep(union="auto"), RecipePath)
        assert "union" in found(Deep(union="a.txt"), RecipePath)

    def test_a_model_of_a_subclass_is_walked_as_what_it_is(self):
        class Sub(Inner):
            more: Annotated[str, ModelRef()] = "m"

        class Holder(Spec):
            held: SerializeAsAny[Spec]

        assert found(Holder(held=Sub()), ModelRef) == ["held.more"]
        assert found(Holder(held=Sub()), RecipePath) == ["held.path"]


class TestReplaced:
    def test_nothing_changed_is_the_same(self):
        assert FULL.replaced(lambda leaf: leaf.value) == FULL
        assert Deep().replaced(lambda leaf: leaf.value) == Deep()

    def test_every_leaf_is_given_once_and_what_is_returned_takes_its_place(self):
        made = FULL.replaced(lambda leaf: f"<{leaf.value}>" if leaf.marker(RecipePath) else leaf.value)
        assert (made.bare, made.maybe, made.within, made.pair) == ("<bare>", "<maybe>", "<within>", ("<first>", 2))
        assert made.inner == made.searched == made.specs[0] == Inner(path="<inner.txt>")
        assert made.specs[1] == Inner(plain=2, path="<inner.txt>")
        assert made.by_name == {"some": Inner(path="<inner.txt>"), "none": None}
        assert made.nested == {"x": ["<y>", "<z>"]} and made.union == "<not auto>"
        assert (made.listed, made.several, made.named) == (["a", "b"], ("c", "d"), {"e": "model"})

    def test_lists_stay_lists_and_tuples_tuples(self):
        made = FULL.replaced(lambda leaf: leaf.value)
        assert type(made.listed) is list and type(made.several) is tuple and type(made.nested["x"]) is list

    def test_the_object_itself_stays_as_it_was(self):
        before = FULL.model_dump_json()
        FULL.replaced(lambda leaf: "changed")
        assert FULL.model_dump_json() == before

    def test_nothing_can_be_filled_in(self):
        made = Deep().replaced(lambda leaf: "here" if leaf.value is None and leaf.marker(RecipePath) else leaf.value)
        assert (made.maybe, made.within, made.anything) == ("here", "here", None)


class Steps(Spec):
    """Fields that different steps read."""

    both: int = 1
    built: Annotated[int, ReadBy("build")] = 2
    merged: Annotated[float | None, ReadBy("merge")] = None
    either: Annotated[int, ReadBy("build", "merge")] = 3
    searched: Annotated[int, SearchOnly()] = 4
    ran: Annotated[str, RunOnly] = "server"
    path: Annotated[str, RecipePath()] = "file"
    named: Annotated[str | None, Ref("embed")] = None
    model: Annotated[str | None, ModelRef()] = None
    models: tuple[Annotated[str, ModelRef("tokenizer")], ...] = ()
    mixed: Annotated[Inner, ReadBy("merge")] = Inner()
    several: list[Annotated[str, SearchOnly()] | int] = Field(default_factory=list)


class TestIdentity:
    def test_it_holds_what_decides_any_file(self):
        assert Steps().identity() == {
            "both": 1,
            "built": 2,
            "merged": None,
            "either": 3,
            "model": None,
            "models": [],
            "mixed": {"plain": 1},
            "several": [],
        }

    def test_a_step_has_only_what_it_reads(self):
        shared = {"both": 1, "model": None, "models": [], "several": []}
        assert Steps().identity(step="build") == {**shared, "built": 2, "either": 3}
        assert Steps().identity(step="merge") == {**shared, "merged": None, "either": 3, "mixed": {"plain": 1}}
        assert Steps().identity(step="train") == shared

    def test_models_are_known_by_their_content(self):
        asked = []

        def digest(name, ref):
            asked.append((name, ref.part))
            return f"sha of {name}"

        made = Steps(model="m", models=("t", "u")).identity(digest=digest)
        assert (made["model"], made["models"]) == ("sha of m", ["sha of t", "sha of u"])
        assert asked == [("m", "weights"), ("t", "tokenizer"), ("u", "tokenizer")]
        assert Steps().identity(digest=digest)["model"] is None and len(asked) == 3

    def test_without_digests_models_go_by_their_names(self):
        assert Steps(model="m").identity()["model"] == "m"

    def test_paths_names_and_what_is_for_searches_or_runs_decide_nothing(self):
        changed = Steps(searched=9, ran="other", path="elsewhere", named="minilm", mixed=Inner(path="x"), several=["a"])
        for step in (None, "build", "merge"):
            assert changed.identity(step=step) == Steps().identity(step=step)

    def test_what_is_not_given_decides_as_little_as_what_is(self):
        class Missing(Spec):
            path: Annotated[str, RecipePath()] | None = None
            price: Annotated[float, RunOnly()] | None = None

        assert Missing().identity() == Missing(path="a", price=2.0).identity() == {}

    def test_items_that_decide_nothing_leave_the_others(self):
        assert Steps(several=["a", 5, "b", 6]).identity()["several"] == [5, 6]

    def test_it_is_json_in_any_process(self):
        class Strange(Spec):
            where: Path
            words: frozenset[str]
            kinds: set[Annotated[str, RecipePath()] | int]

        words = frozenset({"gull", "rope", "salt", "copper", "moss", "thunder", "ledger", "violet"})
        made = Strange(where="a/b", words=words, kinds={3, 1, "a"})
        assert json.loads(json.dumps(made.identity())) == {"where": "a/b", "words": sorted(words), "kinds": [1, 3]}
        assert made.replaced(lambda leaf: leaf.value) == made


def test_a_marker_cannot_be_changed_and_neither_can_settings():
    with pytest.raises(AttributeError):
        ModelRef().part = "tokenizer"
    with pytest.raises(ValidationError, match="frozen"):
        Inner().plain = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        Inner(other=1)


def test_read_by_names_its_steps_and_equal_markers_are_equal():
    assert ReadBy("build", "merge").steps == ("build", "merge")
    assert ReadBy("build") == ReadBy("build") != ReadBy("merge")
    assert {RecipePath(), RecipePath()} == {RecipePath()}


MARKERS = (RecipePath(), ModelRef(), Ref("lm"), SearchOnly(), RunOnly(), ReadBy("build"))
_numbers = count()


@dataclass
class Shape:
    """An annotation, a strategy for its values with the leaves of each, and the markers of a missing value."""

    annotation: Any
    values: st.SearchStrategy[tuple[Any, list[tuple[tuple[str, ...], frozenset[Any]]]]]
    missing: frozenset[Any] = field(default_factory=frozenset)


def leaf_shape(kind, values):
    return Shape(kind, values.map(lambda value: (value, [((), frozenset())])))


def marked(shape, marker, bare):
    here = frozenset([marker])
    written = type(marker) if bare and marker in (RecipePath(), ModelRef(), SearchOnly(), RunOnly()) else marker
    values = shape.values.map(lambda made: (made[0], [(path, here | found) for path, found in made[1]]))
    return Shape(Annotated[shape.annotation, written], values, shape.missing | here)


def optional(shape):
    return Shape(
        Optional[shape.annotation],  # noqa: UP045 - the annotation is a value here
        shape.values | st.just((None, [((), shape.missing)])),
        shape.missing,
    )


def gathered(made):
    """Values by key with the leaves of each, as one container's."""
    return [((str(key), *path), found) for key, (_, leaves) in made for path, found in leaves]


def listed(shape, kind):
    several = st.lists(shape.values, max_size=3)
    annotation = {list: list[shape.annotation], tuple: tuple[shape.annotation, ...]}[kind]
    return Shape(annotation, several.map(lambda made: (kind(value for value, _ in made), gathered(enumerate(made)))))


def fixed(first, second):
    both = st.tuples(first.values, second.values)
    annotation = tuple[first.annotation, second.annotation]
    return Shape(annotation, both.map(lambda made: (tuple(value for value, _ in made), gathered(enumerate(made)))))


def mapped(shape):
    several = st.dictionaries(st.sampled_from("abc"), shape.values, max_size=3)
    values = several.map(lambda made: ({key: value for key, (value, _) in made.items()}, gathered(made.items())))
    return Shape(dict[str, shape.annotation], values)


def settings_of(shapes):
    names = [f"field{number}" for number in range(len(shapes))]
    fields = {name: (shape.annotation, ...) for name, shape in zip(names, shapes, strict=True)}
    kind = create_model(f"Made{next(_numbers)}", __base__=Spec, **fields)
    values = st.tuples(*(shape.values for shape in shapes))

    def made(parts):
        named = list(zip(names, parts, strict=True))
        return kind(**{name: value for name, (value, _) in named}), gathered(named)

    return Shape(kind, values.map(made))


def nested(inner):
    return (
        st.builds(marked, inner, st.sampled_from(MARKERS), st.booleans())
        | st.builds(optional, inner)
        | st.builds(listed, inner, st.sampled_from([list, tuple]))
        | st.builds(fixed, inner, inner)
        | st.builds(mapped, inner)
        | st.lists(inner, min_size=1, max_size=3).map(settings_of)
    )


leaves = st.sampled_from(
    [
        leaf_shape(str, st.text(max_size=3)),
        leaf_shape(int, st.integers()),
        leaf_shape(Literal["a", "b"], st.sampled_from(["a", "b"])),
    ]
)
shapes = st.lists(st.recursive(leaves, nested, max_leaves=8), min_size=1, max_size=3).map(settings_of)


@given(st.data())
def test_settings_of_any_shape_have_the_leaves_and_markers_of_their_values(data):
    made, expected = data.draw(data.draw(shapes).values)
    found = list(made.leaves())
    assert [(leaf.path, frozenset(leaf.markers)) for leaf in found] == expected
    visited = []
    assert made.replaced(lambda leaf: visited.append(leaf) or leaf.value) == made
    assert visited == found
    json.dumps(made.identity())


@given(st.data())
def test_only_leaves_without_a_marker_that_says_so_decide(data):
    shape = data.draw(shapes)
    made, _ = data.draw(shape.values)
    for step in (None, "build", "merge"):

        def decides(leaf, step=step):
            silent = leaf.marker(RecipePath) or leaf.marker(Ref) or leaf.marker(SearchOnly) or leaf.marker(RunOnly)
            return not silent and (step in (None, "build") or not leaf.marker(ReadBy))

        def digest(name, ref):
            return ["sha", ref.part, name]

        expected = [
            digest(leaf.value, ref) if (ref := leaf.marker(ModelRef)) and leaf.value is not None else [leaf.value]
            for leaf in made.leaves()
            if decides(leaf)
        ]
        assert flat(made.identity(step=step, digest=digest)) == [value for part in expected for value in part]


def flat(identity):
    """The values of nested JSON, in order."""
    if isinstance(identity, dict):
        return [value for part in identity.values() for value in flat(part)]
    if isinstance(identity, list):
        return [value for part in identity for value in flat(part)]
    return [identity]
