import duckdb
import pytest

from mnemodex.deploy.access import OPEN, SCOPES, Access
from mnemodex.deploy.filters import FUNCTIONS, LONGEST, check_filter
from mnemodex.schemas.errors import AccessError, QueryError

TENANT = Access(key_name="tenant", scopes=frozenset({"search"}), where="d.tenant = 'a'")
SEARCHER = Access(key_name="searcher", scopes=frozenset({"search"}))

USUAL = [
    "d.key = 'a'",
    "key IN ('a', 'b') AND NOT (c.text ILIKE '%tide%')",
    "text LIKE 'a$%' ESCAPE '$' OR title SIMILAR TO 'a.*' OR text ~ 'b' OR text GLOB 'c*'",
    "price > 10 AND published >= '2024-01-01' AND list_contains(tags, 'sea')",
    "metadata->>'$.year' = '2020' AND metadata->'$.a.b' IS NOT NULL",
    "published BETWEEN DATE '2020-01-01' AND now() - INTERVAL 3 DAY",
    "'sea' IN tags OR tags && ['sea', 'sky'] OR tags[1] = 'x'",
    "coalesce(price, 0)::DECIMAL(9, 2) / 2 < 1e3 AND TRY_CAST(key AS INTEGER) = 1",
    "CASE WHEN price IS NULL THEN false ELSE price % 2 = 0 END",
    "lower(title) COLLATE NOCASE = 'a' -- as a comment",
    "year(published) = 2020 /* and another */",
    "c.text = 'Straße\u3000\u200d🌊'",
    "true",
]
BRACKETS = [
    "1=1) OR (1=1",
    "1=1)) OR ((1=1",
    "true) filtered; SELECT (1",
    "true /*",
    "true --\n) OR (true",
    "true\u2028) OR (true",
    "'a' = 'a\\') OR (1=1",
    "$$a$$ = $$) OR (1=1",
    "true, true",
    "true AS x",
    "true ORDER BY 1",
    "true UNION SELECT true",
    "SELECT true",
    "FROM documents SELECT true",
    "true; SELECT true",
    "true\x00) OR (true",
    "",
    " ",
    "-- nothing",
    "(" * 201 + "true" + ")" * 201,
    "(" * 3000,
    "NOT " * 900 + "true",
    "d" + ".a" * 4000 + " = 1",
    "key = '\ud800'",
]
ORACLES = [
    "EXISTS (SELECT 1 FROM documents WHERE tenant = 'b')",
    "EXISTS (FROM documents)",
    "d.key IN (SELECT key FROM documents)",
    "(SELECT count(*) FROM qa_pairs) > 5",
    "5 < ANY (SELECT 1)",
    "ARRAY (SELECT text FROM chunks)[1] = 'a'",
    "CASE WHEN true THEN (SELECT true) END",
    "[(SELECT text FROM chunks LIMIT 1)] = ['a']",
    "count(*) > 5",
    "count(*) OVER () > 5",
    "max(text) OVER (ORDER BY key) > 'a'",
    "sum(price) FILTER (true) > 1",
    "lag(text) OVER () = 'a'",
    "ngram_count('ngrams', 'a secret') > 0",
    "NGRAM_COUNT('ngrams', 'a secret') > 0",
    "\"ngram_count\"('ngrams', 'a secret') > 0",
    "'ngrams'.ngram_count('a secret') > 0",
    "main.lower('a') = 'a'",
    "embed('a')[1] > 0",
    "current_setting('memory_limit') = 'a'",
    "getvariable('a') = 1",
    "nextval('a') = 1",
    "error(text)",
    "query('SELECT 1')",
    "read_text('/etc/passwd') = 'a'",
    "#1 = 1",
    "? = 1",
    "$a = 1",
    "COLUMNS(*) = 'a'",
    "*",
    "DEFAULT",
]
COSTLY = [
    "length(repeat(text, 1000000)) > 1",
    "length(lpad(text, 1000000000, 'a')) > 1",
    "text || text || text = 'a'",
    "concat(text, text) = 'a'",
    "replace(text, 'a', 'aaaaaaaaaaaaaaaa') = 'a'",
    "levenshtein(text, text) > 1",
    "len(range(1000000000)) > 1",
    "[text, text, text] = ['a']",
    "[x FOR x IN tags] = ['a']",
    "list_transform(tags, x -> x) = ['a']",
    "text::BLOB::BIT::VARCHAR = 'a'",
    "tags::VARCHAR[] = ['a']",
    "key = '" + "a" * LONGEST + "'",
    " OR ".join(["key = 'a'"] * 2500),
]


class TestAFilterOfAKey:
    @pytest.mark.parametrize("where", USUAL)
    def test_may_compare_columns(self, where):
        check_filter(where)

    @pytest.mark.parametrize("where", BRACKETS)
    def test_is_one_expression(self, where):
        with pytest.raises(QueryError, match=r"^where "):
            check_filter(where)

    @pytest.mark.parametrize("where", ORACLES)
    def test_reads_the_row_that_it_judges_alone(self, where):
        with pytest.raises(QueryError, match=r"^where holds|^where calls"):
            check_filter(where)

    @pytest.mark.parametrize("where", COSTLY)
    def test_makes_no_texts_longer(self, where):
        with pytest.raises(QueryError, match=r"^where "):
            check_filter(where)

    def test_calls_functions_that_duckdb_has(self):
        known = duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'aggregate'")
        assert not FUNCTIONS - {name for (name,) in known.fetchall()} - {"if", "nullif", "ilike_escape"}


class TestAnAccess:
    def test_refuses_a_scope_that_it_does_not_have(self):
        SEARCHER.require("search")
        with pytest.raises(AccessError, match=r"key 'searcher' has no scope 'admin' \(it has: search\)"):
            SEARCHER.require("admin")

    def test_refuses_memories_and_indexes_that_it_is_not_for(self):
        access = Access(key_name="k", scopes=SCOPES, memories=frozenset({"sea"}), indexes=frozenset({"words", "dense"}))
        access.require_memory("sea")
        access.require_index("words")
        with pytest.raises(AccessError, match="not for memory 'land'; ask one of sea"):
            access.require_memory("land")
        with pytest.raises(AccessError, match="not for index 'graph'; ask one of dense, words"):
            access.require_index("graph")

    def test_of_an_open_server_may_all(self):
        for scope in SCOPES:
            OPEN.require(scope)
        OPEN.require_memory("any")
        OPEN.require_index("any")
        OPEN.require_all_rows("counts", "they are whole")
        assert OPEN.where_of("EXISTS (FROM documents)") == "EXISTS (FROM documents)"
        assert OPEN.where_of(None) is None

    @pytest.mark.parametrize("where", ["(" * 3000, "d" + ".a" * 20_000, "key = '\ud800'"])
    def test_of_an_open_server_takes_no_filter_that_holds_it_up(self, where):
        with pytest.raises(QueryError, match=r"^where has|^where holds"):
            OPEN.where_of(where)

    def test_with_a_filter_refuses_what_cannot_be_filtered(self):
        with pytest.raises(AccessError, match="counts cannot be filtered: they are those of the whole corpus"):
            TENANT.require_all_rows("counts", "they are those of the whole corpus")

    def test_with_a_filter_adds_it_to_each_question(self):
        assert TENANT.where_of(None) == "d.tenant = 'a'"
        assert kept(TENANT.where_of("true")) == ["1", "3"]
        assert kept(TENANT.where_of("d.tenant = 'b'")) == []
        assert kept(TENANT.where_of("d.tenant = 'b' OR true")) == ["1", "3"]
        assert kept(TENANT.where_of("NULL")) == []
        assert kept(TENANT.where_of("key = '3' -- a comment")) == ["3"]

    @pytest.mark.parametrize("where", [*BRACKETS, *ORACLES, *COSTLY])
    def test_with_a_filter_refuses_questions_that_would_leave_it(self, where):
        with pytest.raises(QueryError):
            TENANT.where_of(where)

    @pytest.mark.parametrize("where", ["c.text::INTEGER > 0", "c.text::INTEGER > 0 AND d.key::INTEGER > 0"])
    def test_with_a_filter_evaluates_a_question_for_its_rows_alone(self, where):
        # An error would quote the row of another: 'secret' is no number.
        assert kept(TENANT.where_of(where)) == ["1", "3"]

    def test_without_the_scope_sql_may_not_ask_tables_by_a_filter(self):
        with pytest.raises(QueryError, match="subquery"):
            SEARCHER.where_of("(SELECT count(*) FROM qa_pairs) > 5")

    def test_for_some_indexes_may_not_ask_others_by_a_filter(self):
        access = Access(key_name="k", scopes=SCOPES, indexes=frozenset({"words"}))
        with pytest.raises(QueryError, match="calls ngram_count"):
            access.where_of("ngram_count('ngrams', 'a') > 0")

    def test_does_not_show_its_filter_in_errors(self):
        error = QueryError(
            f"where {TENANT.where_of('prise > 1')!r} is not a boolean expression over chunks c and documents d: Binder "
            'Error: Referenced column "prise" not found'
        )
        said = str(TENANT.shown(error))
        assert said.endswith('documents d: Binder Error: Referenced column "prise" not found')
        assert "tenant" not in said


def kept(where):
    """Keys of the documents that a filter keeps, by the library's own statement."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE documents (doc_id INT, tenant VARCHAR, key VARCHAR)")
        connection.execute("CREATE TABLE chunks (chunk_id INT, doc_id INT, text VARCHAR)")
        for number in range(1, 5):
            tenant, text = ("a", str(number)) if number % 2 else ("b", "secret")
            connection.execute("INSERT INTO documents VALUES (?, ?, ?)", [number, tenant, text])
            connection.execute("INSERT INTO chunks VALUES (?, ?, ?)", [number, number, text])
        rows = connection.execute(
            "SELECT filtered.key FROM documents d, LATERAL "
            f"(SELECT c.chunk_id, d.key FROM chunks c WHERE c.doc_id = d.doc_id AND (\n{where}\n)) filtered ORDER BY 1"
        )
        return [key for (key,) in rows.fetchall()]
