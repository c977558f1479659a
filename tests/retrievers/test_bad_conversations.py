"""Conversations whose times and turns are missing, equal, go back, or are written in several ways."""

from __future__ import annotations

import pytest
from engines import InlineEngine
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module

TURNS = ("the ferry leaves at noon", "what does it cost", "bread for supper", "the ferry is late", "good night")
DAYS = tuple(f"2024-01-0{n}T00:00:00Z" for n in range(1, 6))
ORDER = "indexes.near: {} of 5 documents"
CASES = {
    "no times": ([{"turn": n} for n in range(5)], "turn", "01234", ["no row has a value of the metadata field 'time'"]),
    "times that go back": ([{"turn": n, "time": DAYS[4 - n]} for n in range(5)], "time", "43210", []),
    "equal times": (
        [{"turn": n, "time": DAYS[0]} for n in range(5)],
        "time",
        "01234",
        [f"{ORDER.format(5)} have the same value of `order` (time)"],
    ),
    "turns that are missing": (
        [{"time": DAYS[n]} | ({"turn": -n} if n > 2 else {}) for n in range(5)],
        "turn",
        "43012",
        [f"{ORDER.format(3)} lack the field `order` (turn)"],
    ),
    "an order that is missing": (
        [{"turn": n, "time": DAYS[n]} for n in range(5)],
        "number",
        "01234",
        [f"{ORDER.format(5)} lack the field `order` (number)"],
    ),
    "zones and none": (
        [
            {"turn": n, "time": time}
            for n, time in enumerate(
                ("2024-05-01T12:00:00", "2024-05-01T13:30:00+02:00", "2024-05-01", "2024-05-01T09:00-01:00", DAYS[0])
            )
        ],
        "time",
        "42310",
        ["times of the metadata field 'time' without a time zone: 2 of 5"],
    ),
    "times that are none": (
        [{"turn": n, "time": time} for n, time in enumerate((DAYS[1], "soon", "March-15-2024", DAYS[0], DAYS[2]))],
        "time",
        "304",
        ["2 rows left out"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_conversation_has_the_documented_order_and_one_warning(case, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    rows, order, expected, warnings = CASES[case]
    rows = [{"id": f"{n}", "text": TURNS[n], "chat": "x", **row} for n, row in enumerate(rows)]
    source = write_jsonl(tmp_path / "chat.jsonl", rows)
    indexes = {
        "words": {"type": "bm25"},
        "near": {"type": "contiguity", "of": "words", "within": ["chat"], "order": order},
        "recent": {"type": "recency", "of": "near", "field": "time", "half_life": "30d"},
    }
    recipe = words_recipe(source, tmp_path / "memory", indexes=indexes)
    recipe["source"]["metadata"] = {"chat": "string", "turn": "int", "time": "timestamp"}
    found = mnemodex.build(recipe).warnings
    assert len(found) == len(warnings)
    assert all(warning.startswith(start) for warning, start in zip(found, warnings, strict=True))
    memory = mnemodex.open(tmp_path / "memory")
    for name in memory.indexes:
        retriever = memory.retriever(name)
        for _ in range(2):
            hits = retriever.search(["ferry", "supper", "xyzzy"], 5)
        groups = retriever.search(["ferry"], 5, group_by="chat")[0]
        assert [group.value for group in groups] == ["x"]
        (context, *_) = mnemodex.pack(hits, budget=50, before=1, after=1, near=retriever.near, order="source")
        assert context.text
    (span,) = memory.retriever("near").search(["ferry"], 1, expand=9)[0]
    assert "".join(piece.key for piece in span.pieces) == expected
    undated = [record.getMessage() for record in caplog.records if "have no time" in record.getMessage()]
    assert len(undated) == (case == "no times"), "once, and not at every search"
