"""Fields of the metadata as typed columns: declared, inferred, kept when the source grows."""

from __future__ import annotations

import json
from datetime import date, datetime

import pyarrow as pa
import pytest
from builds import computed, manifest
from library import write_jsonl

import mnemodex
from mnemodex.pipelines.documents.typed import infer_types
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.metadata import TYPES
from mnemodex.schemas.store import parquet
from mnemodex.schemas.typed_fields import TypedFields

TYPED = {
    "price": "float",
    "stock": "int",
    "sold": "bool",
    "shop": "string",
    "day": "date",
    "seen": "timestamp",
    "tags": "list<string>",
}


def goods(*numbers: int) -> list[dict]:
    return [
        {
            "id": f"g{number}",
            "text": f"lamp {number}",
            "price": number + 0.5,
            "stock": number,
            "sold": number % 2 == 0,
            "shop": "Olme",
            "day": f"2024-01-{number + 1:02}",
            "seen": f"2024-01-{number + 1:02}T23:30:00-02:00",
            "tags": ["new", "red"] if number % 2 else [],
        }
        for number in numbers
    ]


@pytest.fixture
def make(build, tmp_path):
    """Builds the memory of some rows, and opens it."""

    def make(rows, **source):
        path = write_jsonl(tmp_path / "goods.jsonl", rows)
        make.result = build(path, source={"path": str(path), **source})
        return mnemodex.open(tmp_path / "memory")

    return make


@pytest.mark.parametrize("source", [{}, {"metadata": TYPED}], ids=["inferred", "declared"])
class TestColumns:
    def test_documents_have_them_typed(self, make, source):
        memory = make(goods(0, 1), **source)
        assert memory.snapshot.manifest.tables["documents"].fields == TYPED
        rows = memory.sql(f"SELECT {', '.join(TYPED)} FROM documents ORDER BY key").fetchall()
        assert rows == [
            (0.5, 0, True, "Olme", date(2024, 1, 1), datetime(2024, 1, 2, 1, 30), []),
            (1.5, 1, False, "Olme", date(2024, 1, 2), datetime(2024, 1, 3, 1, 30), ["new", "red"]),
        ]
        assert make.result.warnings == []

    @pytest.mark.parametrize(
        ("where", "keys"),
        [
            ("price > 1 AND seen >= '2024-01-04'", {"g2", "g3"}),
            ("list_contains(tags, 'red')", {"g1", "g3"}),
            ("d.day BETWEEN '2024-01-02' AND '2024-01-03'", {"g1", "g2"}),
            ("NOT sold", {"g1", "g3"}),
            ("stock IN (0, 3) AND title = ''", {"g0", "g3"}),
            ("(d.metadata->>'price')::DOUBLE < 1", {"g0"}),
        ],
    )
    def test_where_reads_them_by_name(self, make, source, where, keys):
        hits = make(goods(0, 1, 2, 3), **source).retriever("words").search(["lamp"], 9, where=where)
        assert {chunk.key for chunk in hits[0]} == keys

    def test_hits_have_them_in_arrow_and_the_metadata_as_it_was_in_json(self, make, source):
        memory = make(goods(1), **source)
        hits = memory.retriever("words").search(["lamp"], 3)
        table = hits.to_arrow()
        assert {name: table.schema.field(name).type for name in TYPED} == {n: TYPES[kind] for n, kind in TYPED.items()}
        assert (
            table.select(list(TYPED)).to_pylist()
            == memory.sql(f"SELECT {', '.join(TYPED)} FROM documents").arrow().to_pylist()
        )
        given = {name: value for name, value in goods(1)[0].items() if name in TYPED}
        assert hits[0][0].metadata == given and json.loads(json.dumps(hits[0][0].to_json()))["metadata"] == given
        none = memory.retriever("words").search(["lamp"], 3, where="price > 99").to_arrow()
        assert none.num_rows == 0 and none.schema == table.schema

    def test_a_second_build_computes_nothing(self, make, source):
        make(goods(0, 1), **source)
        make(goods(0, 1), **source)
        assert computed(make.result) == {}


class TestDeclared:
    def test_a_value_that_does_not_fit_is_a_bad_row(self, make):
        memory = make([*goods(0), {**goods(1)[0], "price": "cheap"}], metadata={"price": "float"})
        rows = memory.sql("SELECT line, reason, content FROM errors").fetchall()
        assert [row[0] for row in rows] == [2]
        assert "the metadata field 'price' is 'cheap', no float" in rows[0][1] and "cheap" in rows[0][2]
        assert memory.sql("SELECT key FROM documents").fetchall() == [("g0",)]
        with pytest.raises(SourceError, match=r"1 row cannot be read, more than `source.max_errors: 0`"):
            make([*goods(0), {**goods(1)[0], "price": "cheap"}], metadata={"price": "float"}, max_errors=0)

    def test_only_declared_fields_are_columns(self, make):
        fields = make(goods(0), metadata={"price": "string"}).snapshot.manifest.tables["documents"].fields
        assert fields == {"price": "string"}
        assert make(goods(0), metadata={}).snapshot.manifest.tables["documents"].fields == {}

    def test_a_field_of_an_object(self, make):
        row = {"id": "a", "text": "t", "author": {"name": "Ada", "born": 1815}}
        memory = make([row], metadata={"author.born": "int"})
        assert memory.sql('SELECT "author.born" FROM documents').fetchall() == [(1815,)]

    def test_a_name_with_a_dot_is_no_part_of_another_column(self, make):
        memory = make([{"id": "a", "text": "t", "text.length": 1}], metadata={"text.length": "int"})
        partition = memory.snapshot.manifest.tables["documents"].partitions[0].label
        path = memory.snapshot.path("documents", partition)
        assert parquet.read(path, columns=["text"]).column_names == ["text"]
        assert [batch.schema.names for batch in parquet.read_batches(path, columns=["text"])] == [["text"]]

    def test_a_field_that_no_row_has_is_a_warning(self, make):
        make(goods(0), metadata={"price": "float", "prize": "float"})
        assert make.result.warnings == [
            "no row has a value of the metadata field 'prize'; correct the name in source.metadata"
        ]

    def test_another_type_keeps_the_ids(self, make):
        before, after = (make(goods(0, 1), metadata={"price": kind}) for kind in ("float", "string"))
        chunks = "SELECT * FROM chunks ORDER BY chunk_id"
        assert before.sql(chunks).fetchall() == after.sql(chunks).fetchall()
        assert after.sql("SELECT price FROM documents ORDER BY 1").fetchall() == [("0.5",), ("1.5",)]

    @pytest.mark.parametrize(
        ("metadata", "saying"),
        [
            ({"price": "flaot"}, "source.metadata: field 'price': unknown type 'flaot'; did you mean 'float'?"),
            ({"tags": "list[string]"}, "did you mean 'list<string>'?"),
            ({"price": "money"}, "the types are bool, int, float, string, date, timestamp, and lists of these"),
            ({"Title": "string"}, "field 'Title': documents, chunks or hits have a column of this name"),
            ({"rank": "int"}, "field 'rank': documents, chunks or hits have a column"),
            ({"price": "int", "Price": "int"}, "field 'Price': another field has this name"),
            ({"": "int"}, "1 to 100 printable characters"),
            ({"a\0b": "int"}, "1 to 100 printable characters"),
            ({f"f{number}": "int" for number in range(1001)}, "1001 fields are declared, and there may be 1000"),
        ],
    )
    def test_what_cannot_be_declared(self, make, metadata, saying):
        with pytest.raises(RecipeError) as refused:
            make(goods(0), metadata=metadata)
        assert saying in str(refused.value)


class TestInferred:
    def test_types_stay_when_the_source_grows_and_what_does_not_fit_is_counted(self, make):
        make(goods(0, 1))
        odd = [{"id": "odd", "text": "t", "stock": 2.5, "price": "cheap", "day": "soon", "sold": None, "new": 1}]
        memory = make([*goods(0, 1), *odd])
        assert memory.snapshot.manifest.tables["documents"].fields == {**TYPED, "new": "int"}
        rows = memory.sql("SELECT stock, price, day, sold, new, metadata FROM documents WHERE key = 'odd'").fetchall()
        assert rows[0][:5] == (None, None, None, None, 1)
        assert json.loads(rows[0][5])["price"] == "cheap"
        said = " ".join(make.result.warnings)
        assert "the metadata field 'stock' that do not fit its type int, inferred from the first rows: 1;" in said
        assert said.count("declare the field's type in source.metadata") == 3 and "'sold'" not in said

    def test_a_declaration_that_is_removed_leaves_no_type_behind(self, make):
        make(goods(0, 1), metadata={"price": "string"})
        assert make(goods(0, 1)).snapshot.manifest.tables["documents"].fields == TYPED

    def test_partitions_do_not_change_the_types(self, make, monkeypatch):
        from mnemodex.pipelines.sources.packing import Packing

        monkeypatch.setattr("mnemodex.pipelines.source_plan.PACKING", Packing(rows=1))
        rows = [{"id": "x", "text": "t", "n": 1}, {"id": "y", "text": "t", "n": 1.5}, {"id": "z", "text": "t"}]
        memory = make(rows)
        assert len(memory.snapshot.manifest.tables["documents"].partitions) == 3
        assert memory.sql("SELECT n FROM documents ORDER BY key").fetchall() == [(1.0,), (1.5,), (None,)]

    def test_names_of_other_columns_stay_in_the_json(self, make):
        memory = make([{"id": "a", "text": "t", "start": 3, "kind": "x", "Kind": "y"}])
        assert memory.snapshot.manifest.tables["documents"].fields == {"kind": "string"}
        (warning,) = make.result.warnings
        assert "'start' (documents, chunks or hits have a column" in warning and "'Kind' (another field" in warning
        assert memory.sql("SELECT metadata->>'start' FROM documents").fetchall() == [("3",)]

    def test_ten_thousand_fields_give_a_hundred_columns(self, make):
        memory = make([{"id": "a", "text": "t", **{f"f{number}": number for number in range(10_000)}}])
        assert len(memory.snapshot.manifest.tables["documents"].fields) == 100
        assert "'f100' (the first 100 get one), " in make.result.warnings[0] and "9897 more" in make.result.warnings[0]
        assert memory.sql("SELECT f99, metadata->>'f9999' FROM documents").fetchall() == [(99, "9999")]

    def test_repeated_documents_are_dropped_with_their_columns(self, make):
        memory = make([*goods(0, 1), *goods(0)])
        assert memory.sql("SELECT key, price FROM documents ORDER BY 1").fetchall() == [("g0", 0.5), ("g1", 1.5)]

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([True, None], "bool"),
            ([1, 2**63 - 1], "int"),
            ([1, 2**63], "string"),
            ([1, 2.5], "float"),
            ([2.5, "n.d."], "string"),
            (["2024-02-29"], "date"),
            (["2024-02-30"], "string"),
            (["2024-02-29", "2024-02-29T10:00:00Z"], "timestamp"),
            (["2024-02-29 10:00"], "timestamp"),
            (["20240229"], "string"),
            (["", "2024-02-29"], "string"),
            ([[]], "list<string>"),
            ([[1], [None, 2.5], None], "list<float>"),
            ([["2024-02-29"]], "list<date>"),
            ([[[1]]], None),
            ([[1], 1], None),
            ([{"a": 1}], None),
            ([True, 1], None),
            (["x" * 1001], None),
            ([None], None),
        ],
    )
    def test_types(self, values, kind):
        assert infer_types([{"field": value} for value in values])[0].get("field") == kind

    @pytest.mark.parametrize(
        ("values", "why"),
        [
            ([{"a": 1}], "objects, "),
            ([[{"a": 1}]], "objects, "),
            ([True, 1], "values of several types"),
            ([1, [1]], "values of several types"),
            ([[[1]]], "values of several types"),
            (["x" * 2000], None),
            ([["x" * 2000, "y"]], None),
            ([1], None),
        ],
    )
    def test_a_field_without_a_column_says_why_but_for_running_text(self, values, why):
        left = infer_types([{"field": value} for value in values])[1]
        assert left.get("field", "").startswith(why) if why else left == {}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("float", "1.5", 1.5),
        ("float", "nan", ...),
        ("float", "inf", ...),
        ("float", 10**400, ...),
        ("int", "7", 7),
        ("int", 7.0, 7),
        ("int", 7.5, ...),
        ("int", 2**63, ...),
        ("int", -(2**63), -(2**63)),
        ("string", 10**20, str(10**20)),
        ("string", True, ...),
        ("bool", "false", False),
        ("bool", 2, ...),
        ("date", "2024-02-29T00:00:00", date(2024, 2, 29)),
        ("date", "2024-02-29T10:00:00", ...),
        ("timestamp", "2024-02-29", datetime(2024, 2, 29)),
        ("timestamp", "2024-02-29T10:00:00+02:00", datetime(2024, 2, 29, 8)),
        ("timestamp", 1_700_000_000, datetime(2023, 11, 14, 22, 13, 20)),
        ("timestamp", "0001-01-01T00:00:00+02:00", ...),
        ("timestamp", "9999-12-31T23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("list<int>", ["1", None], [1, None]),
        ("list<int>", 1, ...),
        ("list<int>", ["x"], ...),
    ],
)
def test_values_are_converted_or_refused(kind, value, expected):
    lenient = TypedFields({"field": kind}, strict=False)
    assert lenient.convert({"field": value}) == (None if expected is ... else expected,)
    assert lenient.misfits == ({"field": 1} if expected is ... else {})
    if expected is ...:
        with pytest.raises(ValueError, match=f"the metadata field 'field' is .*, no {kind} "):
            TypedFields({"field": kind}, strict=True).convert({"field": value})


def test_a_memory_without_columns_answers_and_gets_them_when_it_is_built(make, monkeypatch):
    """Such as those that were built before documents had any."""
    with monkeypatch.context() as patch:
        patch.setattr("mnemodex.pipelines.run.inferred_columns", lambda *_: ({}, []))
        memory = make(goods(0, 1))
    assert memory.snapshot.manifest.tables["documents"].fields == {}
    hits = memory.retriever("words").search(["lamp"], 5, where="(d.metadata->>'price')::DOUBLE > 1")
    assert [chunk.key for chunk in hits[0]] == ["g1"] and "price" not in hits.to_arrow().column_names
    assert make(goods(0, 1)).sql("SELECT price FROM documents ORDER BY 1").fetchall() == [(0.5,), (1.5,)]


def test_an_older_manifest_names_no_fields(make):
    from mnemodex.schemas.manifest import TableEntry

    entry = make(goods(0)).snapshot.manifest.tables["documents"].model_dump()
    entry.pop("fields")
    assert TableEntry.model_validate(entry).fields == {}


def test_documents_of_langchain_give_the_fields_of_their_metadata(make):
    row = {"id": "a", "type": "Document", "page_content": "t", "metadata": {"page": 3, "type": "pdf", "metadata": 1}}
    memory = make([row, {**row, "id": "b", "text": "the text", "page_content": "not the text"}])
    found = dict(memory.sql("SELECT key, metadata FROM documents").fetchall())
    kept = {"type": "pdf", "metadata": 1}
    assert json.loads(found["a"]) == {"type": "Document", "page": 3, "metadata": kept}
    assert json.loads(found["b"])["metadata"] == row["metadata"]
    assert memory.sql("SELECT key, page FROM documents ORDER BY 1").fetchall() == [("a", 3), ("b", None)]


def test_show_and_search_say_the_fields(cli, make, tmp_path):
    make(goods(0, 1))
    shown = cli("show", tmp_path / "memory").out
    assert all(name in shown and kind in shown for name, kind in TYPED.items())
    assert "Models" not in shown and "Encoders" not in shown, "a memory without models"
    found = cli("search", tmp_path / "memory", "words", "lamp", "--where", "price > 1", "--json").json
    assert [hit["metadata"]["price"] for hit in found["hits"][0]] == [1.5]
    asked = cli("sql", tmp_path / "memory", "SELECT seen, tags FROM documents WHERE price > 1", "--json").json
    assert asked["rows"] == [["2024-01-03 01:30:00", ["new", "red"]]]


def test_init_writes_the_types_of_the_fields_of_objects(cli, build, tmp_path):
    rows = [{"id": n, "text": "t", "metadata": {"price": n + 0.5, "of": {"day": "2024-01-01"}}} for n in range(3)]
    source = write_jsonl(tmp_path / "goods.jsonl", rows)
    assert cli("init", source, "-o", tmp_path / "recipe.yaml").code == 0
    from mnemodex.schemas.recipe import load_recipe

    types = load_recipe(tmp_path / "recipe.yaml").source.metadata
    assert types == {"metadata.price": "float", "metadata.of.day": "date"}
    build(source, source={"path": str(source), "metadata": types})
    asked = mnemodex.open(tmp_path / "memory").sql('SELECT key FROM documents WHERE "metadata.price" > 1 ORDER BY 1')
    assert asked.fetchall() == [("1",), ("2",)]


def test_init_writes_the_types(cli, build, tmp_path):
    rows = [{**row, "source": "s", "two words": 1} for row in goods(0, 1)]
    source = write_jsonl(tmp_path / "goods.jsonl", rows)
    assert cli("init", source, "-o", tmp_path / "recipe.yaml").code == 0
    from mnemodex.schemas.recipe import load_recipe

    assert load_recipe(tmp_path / "recipe.yaml").source.metadata == {**TYPED, "two words": "int"}


def test_verify_compares_the_columns_with_the_manifest(make, tmp_path):
    from mnemodex.pipelines.verify import verify

    memory = make(goods(0))
    store, current = memory.snapshot.store, manifest(tmp_path / "memory")
    entry = current.tables["documents"].model_copy(update={"fields": {"price": "int"}})
    forged = current.model_copy(update={"tables": {**current.tables, "documents": entry}})
    store.commit(forged, former=current)
    problems = verify(tmp_path / "memory").problems
    assert any("its columns are not those that the manifest names" in problem for problem in problems)


def test_nullable_columns_are_what_arrow_makes_of_the_values():
    from mnemodex.schemas.store.columns import to_nullable

    values = {
        "bool": [True, None, False],
        "int": [None, -(2**63), 7],
        "float": [None, 0.1],
        "string": ["", None, "é"],
        "date": [date(1, 1, 1), None, date(9999, 12, 31)],
        "timestamp": [datetime(1, 1, 1), None, datetime(2024, 1, 1, 0, 0, 0, 1)],
    }
    for kind, column in values.items():
        for rows in (column, [], [None]):
            made = to_nullable(rows, TYPES[kind])
            made.validate(full=True)
            assert made.equals(pa.array(rows, TYPES[kind]))
        lists = [column, None, [], column[:1]]
        made = to_nullable(lists, TYPES[f"list<{kind}>"])
        made.validate(full=True)
        assert made.equals(pa.array(lists, TYPES[f"list<{kind}>"]))
