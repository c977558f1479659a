"""How the inputs of a step are cut into units: against a plain cut of complete tables, and what a unit is known by."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.unit import Cutter, Draft, check_size, unit_fingerprint
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.manifest import Artifact, FileEntry, Stats
from mnemodex.schemas.steps import (
    All,
    Each,
    Files,
    First,
    Group,
    IndexKey,
    Part,
    Pieced,
    Pieces,
    Range,
    Read,
    Sample,
    SourceUnit,
    Step,
)
from mnemodex.schemas.tables import TableKey

A, B, C, D = (TableKey(name) for name in ("a", "b", "c", "d"))


def step(name, *reads, writes=None, source=()):
    return Step(name, "op", tuple(reads), writes or (TableKey(name),), NoSettings(), source=tuple(source))


def sources(*labels):
    return [SourceUnit(label, f"content of {label}", f"data of {label}") for label in labels]


def artifact(key, label, *, rows=1, size=10, pieces=(), files=("parquet",), print_=None):
    """A result of a unit; its fingerprint follows from its label."""
    place = f"{key.path}/{label}-{print_ or label.upper()}"
    entries = tuple(FileEntry(path=f"{place}.{ending}", bytes=size, sha256=f"sha {ending}") for ending in files)
    return Artifact(
        label=label, fingerprint=print_ or label.upper(), rows=rows, files=entries, stats=Stats(pieces=pieces)
    )


class Bench:
    """Results of steps, which a test finishes unit by unit."""

    def __init__(self, *steps):
        self.results = BuildResults(None, None)
        self.steps = {one.name: self.results.add(one, f"identity of {one.name}") for one in steps}

    def more(self, name):
        """The units of a step that can be made now and were not before."""
        return list(self.results.drafts(self.steps[name]))

    def labels(self, name):
        return [draft.label for draft in self.more(name)]

    def finish(self, name, label, **options):
        """Finish a unit: every result of the step has one artifact of its label."""
        made = self.steps[name]
        self.steps[name].finish(label, [artifact(key, label, **options) for key in made.step.writes])


def names(parts):
    return [part.label for part in parts]


class TestEach:
    def test_a_source_is_given_once_with_its_content(self):
        bench = Bench(step("a", source=sources("p", "q")))
        assert not bench.steps["a"].complete
        units = bench.more("a")
        assert [(unit.label, unit.inputs, unit.source.data) for unit in units] == [
            ("p", [], "data of p"),
            ("q", [], "data of q"),
        ]
        assert bench.more("a") == [] and bench.steps["a"].cutter.done

    def test_a_partition_is_a_unit_as_soon_as_it_is_there(self):
        bench = Bench(step("a", source=sources("p", "q", "r")), step("b", Read(A, Each())))
        bench.more("a")
        assert bench.more("b") == []
        bench.finish("a", "p")
        (unit,) = bench.more("b")
        assert (unit.label, names(unit.inputs[0])) == ("p", ["p"])
        assert bench.more("b") == [] and not bench.steps["b"].cutter.done

    def test_units_are_in_the_order_of_the_partitions_whichever_is_finished_first(self):
        bench = Bench(step("a", source=sources("p", "q", "r")), step("b", Read(A, Each())))
        bench.more("a")
        bench.finish("a", "r")
        bench.finish("a", "q")
        assert bench.more("b") == []
        bench.finish("a", "p")
        assert bench.labels("b") == ["p", "q", "r"]

    def test_a_step_is_done_when_the_last_partition_was_given(self):
        bench = Bench(step("a", source=sources("p")), step("b", Read(A, Each())))
        bench.more("a")
        bench.finish("a", "p")
        bench.more("b")
        assert bench.steps["b"].cutter.done and not bench.steps["b"].complete
        bench.finish("b", "p")
        assert bench.steps["b"].complete and names(bench.steps["b"].parts) == ["p"]

    def test_a_table_without_partitions_gives_no_units_and_is_done(self):
        bench = Bench(step("a"), step("b", Read(A, Each())), step("c", Read(B, Each())))
        assert [bench.more(name) for name in "abc"] == [[], [], []]
        assert bench.steps["c"].complete

    def test_what_is_found_on_the_way_goes_on_in_order_too(self):
        """A further result of a step, as entities next to facts, is read like the first one."""
        bench = Bench(step("a", source=sources("p", "q", "r"), writes=(A, B)), step("c", Read(B, Each())))
        bench.more("a")
        bench.finish("a", "p")
        assert bench.labels("c") == ["p"]
        bench.finish("a", "r")
        assert bench.labels("c") == []
        bench.finish("a", "q")
        units = bench.more("c")
        assert [(unit.label, unit.inputs[0][0].place) for unit in units] == [
            ("q", "tables/b/q-Q"),
            ("r", "tables/b/r-R"),
        ]
        assert bench.steps["c"].cutter.done

    def test_a_further_table_gives_the_partition_of_the_same_label(self):
        bench = Bench(
            step("a", source=sources("p", "q")),
            step("b", Read(A, Each())),
            step("c", Read(A, Each()), Read(B, Each())),
        )
        bench.more("a")
        bench.finish("a", "p")
        bench.finish("a", "q")
        bench.more("b")
        assert bench.more("c") == []
        bench.finish("b", "q")
        assert bench.more("c") == []
        bench.finish("b", "p")
        units = bench.more("c")
        assert [[part.place for parts in unit.inputs for part in parts] for unit in units] == [
            ["tables/a/p-P", "tables/b/p-P"],
            ["tables/a/q-Q", "tables/b/q-Q"],
        ]

    @pytest.mark.parametrize("how", [All(), Part()])
    def test_what_is_read_beside_it_as_a_whole_is_waited_for(self, how):
        bench = Bench(
            step("a", source=sources("p", "q")),
            step("b", source=sources("x", "y")),
            step("c", Read(A, Each()), Read(B, how)),
        )
        bench.more("a"), bench.more("b")
        bench.finish("a", "p")
        bench.finish("b", "x")
        assert bench.more("c") == []
        bench.finish("b", "y")
        assert [[names(parts) for parts in unit.inputs] for unit in bench.more("c")] == [[["p"], ["x", "y"]]]
        bench.finish("a", "q")
        assert [[names(parts) for parts in unit.inputs] for unit in bench.more("c")] == [[["q"], ["x", "y"]]]


class TestPieces:
    def test_a_partition_gives_a_unit_for_each_of_its_pieces(self):
        bench = Bench(
            step("a", source=sources("p", "q", "r")),
            step("b", Read(A, Each())),
            step("c", Read(A, Pieces()), Read(B, Each())),
        )
        bench.more("a")
        for label, pieces in (("p", (0, 4, 7)), ("q", (0,)), ("r", (0, 2))):
            bench.finish("a", label, pieces=pieces)
        for label in bench.labels("b"):
            bench.finish("b", label)
        units = bench.more("c")
        assert [(unit.label, unit.piece) for unit in units] == [
            ("p-0000", (0, 4)),
            ("p-0001", (4, 7)),
            ("r-0000", (0, 2)),
        ]
        assert [[names(parts) for parts in unit.inputs] for unit in units] == [[["p"], ["p"]]] * 2 + [[["r"], ["r"]]]
        assert bench.steps["c"].cutter.done

    def test_what_was_made_of_pieces_is_read_by_the_piece_and_all_at_once(self):
        bench = Bench(
            step("a", source=sources("p", "q", "r")),
            step("b", Read(A, Pieces())),
            step("c", Read(A, Each()), Read(B, Pieced())),
            step("d", Read(A, Pieces()), Read(B, Pieced()), Read(C, Each())),
        )
        bench.more("a")
        for label, pieces in (("p", (0, 4, 7)), ("q", (0,)), ("r", (0, 2))):
            bench.finish("a", label, pieces=pieces)
        assert bench.labels("b") == ["p-0000", "p-0001", "r-0000"]
        bench.finish("b", "p-0001")
        assert bench.more("c") == [], "a piece of the partition is not there yet"
        bench.finish("b", "p-0000")
        assert [[names(parts) for parts in unit.inputs] for unit in bench.more("c")] == [
            [["p"], ["p-0000", "p-0001"]],
            [["q"], []],
        ]
        bench.finish("b", "r-0000")
        assert bench.labels("c") == ["r"] and bench.more("d") == []
        for label in ("p", "q", "r"):
            bench.finish("c", label)
        assert [(unit.label, unit.piece, [names(parts) for parts in unit.inputs]) for unit in bench.more("d")] == [
            ("p-0000", (0, 4), [["p"], ["p-0000"], ["p"]]),
            ("p-0001", (4, 7), [["p"], ["p-0001"], ["p"]]),
            ("r-0000", (0, 2), [["r"], ["r-0000"], ["r"]]),
        ]
        assert bench.steps["d"].cutter.done

    def test_partitions_without_pieces_give_none(self):
        bench = Bench(step("a", source=sources("p")), step("b", Read(A, Pieces())))
        bench.more("a")
        bench.finish("a", "p")
        assert bench.more("b") == [] and bench.steps["b"].complete


class TestGroup:
    def bench(self, how, *sizes, rows=None):
        bench = Bench(step("a", source=sources(*(f"p{n}" for n in range(len(sizes))))), step("b", Read(A, how)))
        bench.more("a")
        return bench

    @pytest.mark.parametrize(
        ("how", "rows", "groups"),
        [
            (Group(10), [4, 4, 4, 4], [[0, 1], [2, 3]]),
            (Group(10), [5, 5, 5], [[0, 1], [2]]),
            (Group(10), [99, 1, 1], [[0], [1, 2]]),
            (Group(10), [1, 99, 1], [[0], [1], [2]]),
            (Group(10), [0, 0, 0], [[0, 1, 2]]),
            (Group(99, bytes=25), [1, 1, 1, 1, 1], [[0, 1], [2, 3], [4]]),
            (Group(99, bytes=5), [1, 1], [[0], [1]]),
            (Group(2, bytes=35), [1, 1, 1, 1], [[0, 1], [2, 3]]),
        ],
    )
    def test_consecutive_partitions_are_together_as_far_as_rows_and_bytes_allow(self, how, rows, groups):
        bench = self.bench(how, *rows)
        for number, count in enumerate(rows):
            bench.finish("a", f"p{number}", rows=count)
        units = bench.more("b")
        assert [names(unit.inputs[0]) for unit in units] == [[f"p{n}" for n in group] for group in groups]
        assert [unit.label for unit in units] == [f"p{group[0]}" for group in groups]
        assert bench.steps["b"].cutter.done

    def test_a_group_is_given_when_it_is_full_and_the_last_one_when_nothing_can_follow(self):
        bench = self.bench(Group(10), *range(5))
        for label in ("p0", "p1"):
            bench.finish("a", label, rows=5)
        assert bench.more("b") == []
        bench.finish("a", "p2", rows=5)
        assert [names(unit.inputs[0]) for unit in bench.more("b")] == [["p0", "p1"]]
        bench.finish("a", "p4", rows=1)
        assert bench.more("b") == []
        bench.finish("a", "p3", rows=1)
        assert [names(unit.inputs[0]) for unit in bench.more("b")] == [["p2", "p3", "p4"]]

    def test_partitions_beside_it_are_grouped_alike(self):
        bench = Bench(
            step("a", source=sources("p", "q", "r")),
            step("b", Read(A, Each())),
            step("c", Read(A, Group(2)), Read(B, Each())),
        )
        bench.more("a")
        for label in "pqr":
            bench.finish("a", label)
        bench.more("b")
        bench.finish("b", "p")
        assert bench.more("c") == []
        bench.finish("b", "q")
        assert [[names(parts) for parts in unit.inputs] for unit in bench.more("c")] == [[["p", "q"], ["p", "q"]]]
        bench.finish("b", "r")
        assert [[names(parts) for parts in unit.inputs] for unit in bench.more("c")] == [[["r"], ["r"]]]

    @given(rows=st.lists(st.integers(0, 12), min_size=1, max_size=12), more=st.lists(st.integers(0, 12), max_size=6))
    def test_growth_at_the_end_changes_the_last_group_only(self, rows, more):
        def cut(sizes):
            bench = self.bench(Group(10, bytes=60), *sizes)
            for number, count in enumerate(sizes):
                bench.finish("a", f"p{number}", rows=count)
            return [names(unit.inputs[0]) for unit in bench.more("b")]

        before, after = cut(rows), cut([*rows, *more])
        assert after[: len(before) - 1] == before[:-1]


class TestWhole:
    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            (All(), [("all", 0, 1)]),
            (Sample(5), [("all", 0, 1)]),
            (Range(1), [("00000", 0, 1)]),
            (Range(3), [("00000", 0, 3), ("00001", 1, 3), ("00002", 2, 3)]),
        ],
    )
    def test_all_partitions_are_waited_for_and_each_unit_is_given_them_all(self, how, expected):
        bench = Bench(step("a", source=sources("p", "q")), step("b", Read(A, how)))
        bench.more("a")
        bench.finish("a", "q")
        assert bench.more("b") == []
        bench.finish("a", "p")
        units = bench.more("b")
        assert [(unit.label, unit.bucket, unit.buckets) for unit in units] == expected
        assert all(names(unit.inputs[0]) == ["p", "q"] for unit in units)
        assert bench.more("b") == [] and bench.steps["b"].cutter.done

    def test_files_of_one_name_are_one_unit_that_nothing_else_decides(self):
        def drafts(contents):
            parts = [
                Artifact(
                    label=f"p{number}",
                    fingerprint=f"{number:020d}",
                    rows=1,
                    files=tuple(
                        FileEntry(path=f"tables/a/p{number}-{number:020d}/{name}.arrow", bytes=1, sha256=content * 64)
                        for name, content in files.items()
                    ),
                )
                for number, files in enumerate(contents)
            ]
            given = SimpleNamespace(ready=lambda _: parts, complete=lambda _: True)
            one = step("b", Read(A, Files()))
            return {
                draft.label: (names(draft.inputs[0]), unit_fingerprint("x", one, draft))
                for draft in Cutter(one).more(given)
            }

        found = drafts([{"s0": "a", "s1": "b"}, {"s0": "c"}])
        assert {label: parts for label, (parts, _) in found.items()} == {"s0": ["p0", "p1"], "s1": ["p0"]}
        changed = drafts([{"s0": "a", "s1": "d"}, {"s0": "c"}, {"s1": "e"}])
        assert changed["s0"] == found["s0"] and changed["s1"] != found["s1"]

    def test_a_file_meets_the_partition_of_its_name_where_there_is_one_and_waits_for_that_table(self):
        files = tuple(
            FileEntry(path=f"tables/a/all-0/{name}", bytes=1, sha256="0" * 64)
            for name in ("p.jsonl", "+.jsonl", "number.txt")
        )
        sorted_lines = [Artifact(label="all", fingerprint="0", rows=1, files=files)]
        bench = Bench(step("b", source=sources("p", "q")))
        bench.more("b")
        bench.finish("b", "p", rows=3)
        given = SimpleNamespace(
            ready=lambda key: sorted_lines if key == A else bench.results.ready(key),
            complete=lambda key: key == A or bench.results.complete(key),
            find=bench.results.find,
        )
        cutter = Cutter(step("c", Read(A, Files()), Read(B, Each())))
        assert list(cutter.more(given)) == []
        bench.finish("b", "q", rows=3)
        assert [(draft.label, names(draft.inputs[1])) for draft in cutter.more(given)] == [("+", []), ("p", ["p"])]

    @pytest.mark.parametrize(("rows", "expected"), [(1, ["p"]), (3, ["p"]), (4, ["p", "q"]), (99, ["p", "q", "r"])])
    def test_the_first_partitions_are_one_unit(self, rows, expected):
        bench = Bench(step("a", source=sources("p", "q", "r")), step("b", Read(A, First(rows))))
        bench.more("a")
        for label in ("p", "q", "r"):
            bench.finish("a", label, rows=3)
        assert [names(unit.inputs[0]) for unit in bench.more("b")] == [expected]

    @pytest.mark.parametrize("how", [All(), Sample(5)])
    def test_a_table_without_partitions_is_one_unit_of_nothing(self, how):
        bench = Bench(step("a"), step("b", Read(A, how)))
        bench.more("a")
        assert [(unit.label, unit.inputs) for unit in bench.more("b")] == [("all", [[]])]

    def test_shards_are_read_like_tables(self):
        key = IndexKey("words", "parts")
        bench = Bench(step("words", source=sources("p", "q"), writes=(key,)), step("merge", Read(key, All())))
        bench.more("words")
        bench.finish("words", "p")
        bench.finish("words", "q")
        assert [names(unit.inputs[0]) for unit in bench.more("merge")] == [["p", "q"]]

    def test_nothing_is_given_of_what_no_step_makes(self):
        bench = Bench(step("b", Read(A, All())), step("c", Read(A, Each())))
        assert bench.more("b") == bench.more("c") == []
        assert not bench.steps["b"].cutter.done and not bench.steps["c"].cutter.done


def plainly(reads, tables):
    """The units of a step over complete tables, without a thought to when: (label, bucket, piece, labels of inputs)."""
    first, how = tables[reads[0].table], reads[0].how
    if isinstance(how, Group):
        groups, rows, size = [], 0, 0
        for part in first:
            if not groups or rows + part.rows > how.rows or size + part.bytes > how.bytes:
                groups, rows, size = [*groups, []], 0, 0
            groups[-1].append(part)
            rows, size = rows + part.rows, size + part.bytes
    elif isinstance(how, Each | Pieces):
        groups = [[part] for part in first]
    else:
        groups = [first]
    units = []
    for group in groups:
        inputs = [names(group)]
        for read in reads[1:]:
            there = names(tables[read.table])
            inputs.append(names(group) if isinstance(read.how, Each) else there)
        label = group[0].label if isinstance(how, Each | Pieces | Group) else "all"
        if isinstance(how, Pieces):
            pieces = enumerate(pairwise(group[0].stats.pieces))
            units += [(f"{label}-{number:04d}", 0, piece, inputs) for number, piece in pieces]
        elif isinstance(how, Range):
            units += [(f"{bucket:05d}", bucket, None, inputs) for bucket in range(how.buckets)]
        else:
            units.append((label, 0, None, inputs))
    return units


hows = st.sampled_from([Each(), Pieces(), Group(4, bytes=45), Group(1, bytes=99), Range(1), Range(3), All(), Sample(2)])


@given(data=st.data())
def test_whatever_is_finished_when_the_units_are_those_of_a_plain_cut(data):
    count = data.draw(st.integers(0, 5), "partitions")
    labels = [f"p{number}" for number in range(count)]
    steps = {"a": step("a", source=sources(*labels)), "b": step("b", Read(A, Each()), writes=(B, D))}
    how = data.draw(hows, "how")
    aligned = isinstance(how, Each | Pieces | Group)
    others = data.draw(st.lists(st.sampled_from([B, D]), max_size=2), "others")
    ways = st.sampled_from([Each(), All(), Part()]) if aligned else st.just(All())
    reads = [Read(A, how), *(Read(key, data.draw(ways, "way")) for key in others)]
    # The step may be declared before those that make what it reads.
    order = data.draw(st.permutations(["a", "b", "c"]), "order")
    steps["c"] = step("c", *reads)
    bench = Bench(*(steps[name] for name in order))
    pending, given = [], []
    while True:
        # What is complete without any unit is noticed by what reads it in the next round.
        for name in [*order, *order, *order]:
            units = bench.more(name)
            given += units if name == "c" else []
            pending += [(name, unit.label) for unit in units if name != "c"]
        if not pending:
            break
        name, label = pending.pop(data.draw(st.integers(0, len(pending) - 1), "next"))
        number = int(label[1:])
        bench.finish(name, label, rows=number % 3, size=10 + number, pieces=(0, 3, 5)[: 1 + number % 3])
    tables = {A: bench.steps["a"].parts, B: bench.results.artifacts(B), D: bench.results.artifacts(D)}
    assert [names(parts) for parts in tables.values()] == [labels] * 3
    found = [(unit.label, unit.bucket, unit.piece, [names(parts) for parts in unit.inputs]) for unit in given]
    assert found == plainly(reads, tables)
    assert bench.steps["c"].cutter.done


class TestFingerprint:
    STEP = step("b", Read(A, Each()), Read(C, All()))
    DRAFT = Draft("p", [[artifact(A, "p")], [artifact(C, "x"), artifact(C, "y")]])

    def of(self, draft=DRAFT, one=STEP, identity="i"):
        return unit_fingerprint(identity, one, draft)

    def test_it_is_the_same_for_the_same(self):
        again = Draft("p", [[artifact(A, "p")], [artifact(C, "x"), artifact(C, "y")]])
        assert self.of() == self.of(again)
        assert len(self.of()) == 20 and set(self.of()) <= set("0123456789abcdef")

    @pytest.mark.parametrize(
        "other",
        [
            {"inputs": [[artifact(A, "p", print_="other")], [artifact(C, "x"), artifact(C, "y")]]},
            {"inputs": [[artifact(A, "p")], [artifact(C, "x")]]},
            {"inputs": [[artifact(A, "p")], [artifact(C, "y"), artifact(C, "x")]]},
            {"inputs": [[artifact(A, "p"), artifact(C, "x")], [artifact(C, "y")]]},
            {"bucket": 1},
            {"buckets": 2},
            {"piece": (0, 4)},
            {"source": SourceUnit("p", "content", "")},
        ],
    )
    def test_what_a_unit_reads_changes_it(self, other):
        assert self.of(replace(self.DRAFT, **other)) != self.of()

    def test_what_the_step_does_changes_it(self):
        assert self.of(identity="j") != self.of()

    def test_names_files_and_measurements_of_the_inputs_do_not(self):
        inputs = [
            [artifact(A, "p", rows=9, size=99, pieces=(0, 1))],
            [artifact(D, "x", files=("npy",)), artifact(D, "z", print_="Y")],
        ]
        assert self.of(replace(self.DRAFT, inputs=inputs)) == self.of()
        assert self.of(replace(self.DRAFT, label="q")) == self.of()
        assert self.of(one=replace(self.STEP, name="other", op="elsewhere", writes=(B,))) == self.of()

    @pytest.mark.parametrize(
        ("changed", "same"), [("content", False), ("label", True), ("data", True), ("bytes", True)]
    )
    def test_of_a_source_its_content_decides(self, changed, same):
        unit = SourceUnit("p", "content", "data", "affinity", 5)
        other = replace(unit, **{changed: 9 if changed == "bytes" else "other"})
        source = step("a", source=[unit])
        found = [self.of(Draft("p", [], source=one), source) for one in (unit, other)]
        assert (found[0] == found[1]) == same

    def test_of_a_part_only_what_was_set_aside_for_the_partition_decides(self):
        def sorted_rows(mine, others, print_="s"):
            files = [("p.jsonl", mine), ("q.jsonl", others), ("lines.txt", "count")]
            place = f"{C.path}/all-{print_}"
            entries = tuple(FileEntry(path=f"{place}/{name}", bytes=1, sha256=sha) for name, sha in files if sha)
            return Artifact(label="all", fingerprint=print_, rows=1, files=entries)

        one = step("b", Read(A, Each()), Read(C, Part()))

        def of(label, lines):
            return self.of(Draft(label, [[artifact(A, "p")], [lines]]), one)

        before = of("p", sorted_rows("mine", "others"))
        assert of("p", sorted_rows("mine", "changed", print_="t")) == before
        assert of("p", sorted_rows("changed", "others")) != before
        assert of("p", sorted_rows("", "others")) != before
        assert of("q", sorted_rows("mine", "others")) != before


class TestCheckSize:
    def refused(self, how, *sizes):
        draft = Draft("all", [[artifact(A, f"p{n}", size=size) for n, size in enumerate(sizes)]])
        with pytest.raises(StageFailedError) as raised:
            check_size(step("synonyms", Read(A, how)), draft)
        return str(raised.value)

    def test_inputs_that_are_too_large_are_refused_with_both_sizes(self):
        assert self.refused(All(max_bytes=25), 10, 10, 10) == (
            "synonyms: a has 30 bytes, and at most 25 can be read at once; build several smaller memories"
        )

    @pytest.mark.parametrize("how", [All(max_bytes=30), All(), Each(), Group(1)])
    def test_what_fits_or_is_read_in_parts_is_taken(self, how):
        check_size(step("b", Read(A, how)), Draft("all", [[artifact(A, "p", size=30)]]))
