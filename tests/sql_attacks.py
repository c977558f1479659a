"""Statements that would read or write something outside the memory, or change it, by kind."""

from __future__ import annotations

FILES = ["'.tmp/note'", "'/etc/passwd'", "'../note'", "'note.csv'", "'file:///etc/passwd'", "'https://example.org/x'"]

_READERS = [
    "read_text",
    "read_blob",
    "read_csv",
    "read_csv_auto",
    "read_json",
    "read_json_auto",
    "read_json_objects",
    "read_ndjson",
    "read_parquet",
    "parquet_scan",
    "parquet_metadata",
    "parquet_schema",
    "parquet_file_metadata",
    "parquet_kv_metadata",
    "sniff_csv",
    "read_duckdb",
]

_CHANGES = [
    "INSERT INTO chunks SELECT * FROM chunks",
    "INSERT INTO documents (key) VALUES ('forged')",
    "UPDATE chunks SET title = 'forged'",
    "DELETE FROM chunks",
    "COPY (SELECT 'forged' a) TO '.tmp/out.csv'",
    "COPY chunks TO 'out.parquet'",
]

_STATEMENTS = [
    *_CHANGES,
    "COPY chunks FROM '.tmp/note'",
    "EXPORT DATABASE 'out'",
    "IMPORT DATABASE 'out'",
    "ATTACH 'other.db'",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE temp",
    "SET threads = 1",
    "SET GLOBAL enable_external_access = true",
    "SET max_execution_time = 0",
    "SET VARIABLE a = 1",
    "RESET max_execution_time",
    "PRAGMA version",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE forged (a INT)",
    "CREATE TEMP TABLE forged AS SELECT 1",
    "CREATE VIEW forged AS SELECT 1",
    "CREATE OR REPLACE VIEW documents AS SELECT 1",
    "CREATE OR REPLACE TEMP VIEW documents AS SELECT 1",
    "CREATE MACRO forged(a) AS a",
    "CREATE OR REPLACE TEMP MACRO embed(a) AS a",
    "CREATE TYPE forged AS INT",
    "CREATE SCHEMA forged",
    "CREATE SEQUENCE forged",
    "CREATE SECRET forged (TYPE s3)",
    "DROP VIEW chunks",
    "DROP VIEW IF EXISTS documents CASCADE",
    "DROP MACRO embed",
    "ALTER VIEW chunks RENAME TO forged",
    "COMMENT ON VIEW chunks IS 'forged'",
    "MERGE INTO chunks USING documents ON false WHEN NOT MATCHED THEN INSERT",
    "TRUNCATE chunks",
    "CALL pragma_version()",
    "CALL enable_logging()",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
]

_DISGUISES = [
    "EXPLAIN {}",
    "EXPLAIN ANALYZE {}",
    "EXPLAIN (ANALYZE, FORMAT json) {}",
    "-- explain (format\nEXPLAIN ANALYZE {} -- )\n SELECT 1",
    "SELECT 1; {}",
]

_CALLS = [
    "enable_logging()",
    "enable_logging('QueryLog', storage='file', storage_path='log')",
    "disable_logging()",
    "enable_profiling(save_location='profile')",
    "disable_profiling()",
    "glob('/etc/*')",
    "glob('.tmp/*')",
    "arrow_scan(1, 1, 1)",
    "pandas_scan(1)",
    "python_arrow_scan(1, 1)",
    "query('DROP VIEW chunks')",
    "query('EXPLAIN ANALYZE SELECT 1')",
    "query('SELECT 1; SELECT 2')",
    "query('WITH x AS (DELETE FROM chunks RETURNING 1) FROM x')",
    "which_secret('s3://x', 's3')",
    "visible_to_python",
]

_SERIALIZED = "SELECT * FROM json_execute_serialized_sql(json_serialize_sql($q${}$q$))"

ATTACKS = {
    "files": [f"SELECT * FROM {reader}({file})" for reader in _READERS for file in FILES]
    + [f"SELECT * FROM {file}" for file in FILES],
    "statements": _STATEMENTS,
    "disguises": [disguise.format(statement) for disguise in _DISGUISES for statement in _STATEMENTS],
    "expressions": [f"WITH x AS ({change}) SELECT * FROM x" for change in _CHANGES]
    + [f"WITH x AS MATERIALIZED ({change}) SELECT 1" for change in _CHANGES]
    + [f"EXPLAIN ANALYZE WITH x AS ({change}) SELECT 1" for change in _CHANGES]
    + [f"SELECT (WITH x AS ({change}) SELECT count(*) FROM x)" for change in _CHANGES]
    + [f"SELECT * FROM (WITH x AS ({change} RETURNING 1) SELECT * FROM x)" for change in _CHANGES[:4]],
    "calls": [f"SELECT * FROM {call}" for call in _CALLS],
    "serialized": [_SERIALIZED.format(f"WITH x AS ({change}) SELECT * FROM x") for change in _CHANGES],
}
"""Every one of them is refused by a `QueryError`, and leaves no trace."""
