"""Documents that are cut into events: where, by which pass of the model, and what is computed again."""

from __future__ import annotations

import numpy as np
import pytest
from builds import computed, manifest
from hypothesis import given
from hypothesis import strategies as st
from language_models import make, saved
from library import records, words_recipe, write_jsonl, write_parts
from tokenizer_models import byte_level, save

import mnemodex
from mnemodex.indexers.lm import reader as reader_module
from mnemodex.pipelines.lm.events import cut_text, rate_begins
from mnemodex.pipelines.planner.models import models_of, parameters
from mnemodex.pipelines.stages import lm_tokens as tokens_stage
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.event_sections import EventChunks
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.store import parquet

READ = "lm_readings/tiny"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def recipe(tmp_path, model, inline):
    source = write_parts(tmp_path / "notes", records()[:18], 3)
    lm = {"tiny": {"model": model, "window": 32, "overlap": 8}}
    chunks = {"by": "events", "lm": "tiny", "min_size": 4, "max_size": 24}
    return words_recipe(source, tmp_path / "memory", lm=lm, indexes={}, chunks=chunks)


def chunks_of(path):
    return mnemodex.open(path).sql('SELECT chunk_id, doc_id, start, "end", text FROM chunks ORDER BY ALL').fetchall()


def states_of(path):
    return mnemodex.open(path).sql("SELECT * FROM lm_states_tiny ORDER BY position").fetchall()


def test_chunks_are_the_events_of_the_states_in_the_memory(recipe, tmp_path):
    result = mnemodex.build(recipe)
    assert computed(result)["chunks"] == computed(result)["lm_states/tiny"] == 3 and result.warnings == []
    memory, chunker = mnemodex.open(tmp_path / "memory"), EventChunks(**recipe["chunks"])
    sizes = []
    for doc_id, text in memory.sql("SELECT doc_id, text FROM documents").fetchall():
        starts = np.array([start for start, _ in byte_level().encode(text).offsets])
        rows = memory.sql(
            f"SELECT key, surprisal FROM lm_states_tiny WHERE doc_id = {doc_id} ORDER BY token_offset"
        ).fetchall()
        keys = np.stack([np.frombuffer(key, np.float16) for key, _ in rows])
        spans = cut_text(text, starts, np.array([nats for _, nats in rows], np.float32), keys, chunker)
        stored = memory.sql(
            f'SELECT start, "end", text FROM chunks WHERE doc_id = {doc_id} ORDER BY ordinal'
        ).fetchall()
        assert [row[:2] for row in stored] == list(map(tuple, spans.tolist()))
        assert all(text[start:end] == part for start, end, part in stored)
        # A token that begins with the space in front of an event is of the event.
        sizes += np.diff([*np.searchsorted(starts, spans[:, 0], side="right") - 1, len(starts)]).tolist()
    # A token of white space that begins an event is not in its text, but counts as the end of the one before here.
    assert min(sizes) >= 4 - 1 and max(sizes) <= 24 + 1 and len({*sizes}) > 5
    assert verify(tmp_path / "memory").problems == []


def test_a_text_is_read_once_and_gives_the_states_that_it_gives_without_events(recipe, tmp_path, monkeypatch):
    plain = {**recipe, "memory": str(tmp_path / "plain"), "chunks": {"by": "tokens"}}
    read = reader_module.StateReader.read
    windows = []

    def counted(self, tokens, *args, **options):
        windows.append(len(tokens))
        return read(self, tokens, *args, **options)

    monkeypatch.setattr(reader_module.StateReader, "read", counted)
    mnemodex.build({**recipe, "indexes": {"next": {"type": "knn_lm"}}})
    once = windows[:]
    windows.clear()
    mnemodex.build(plain)
    # A model is tried with two windows before its first build.
    assert [count for count in once if count > 2] == [count for count in windows if count > 2]
    assert len(once) in {3, 4}
    without_chunk = [[(*row[:2], *row[3:]) for row in states_of(tmp_path / name)] for name in ("memory", "plain")]
    assert without_chunk[0] == without_chunk[1]


def test_neither_units_nor_batches_move_an_event(recipe, tmp_path, monkeypatch):
    mnemodex.build(recipe)
    monkeypatch.setattr(tokens_stage, "UNIT_TOKENS", 50)
    monkeypatch.setattr(reader_module, "_CPU_TOKENS", 40)
    result = mnemodex.build({**recipe, "memory": str(tmp_path / "other")})
    assert computed(result)[READ] == computed(result)["lm_states/tiny"] > 10
    assert chunks_of(tmp_path / "memory") == chunks_of(tmp_path / "other")


def test_an_unchanged_build_computes_nothing(recipe):
    mnemodex.build(recipe)
    result = mnemodex.build(recipe)
    assert not result.committed and computed(result) == {}


@pytest.mark.parametrize("change", [{"gamma": 0.3}, {"window": 9}, {"refine": "conductance"}, {"max_size": 12}])
def test_other_events_are_cut_without_the_model(recipe, tmp_path, monkeypatch, change):
    mnemodex.build(recipe)
    before = chunks_of(tmp_path / "memory")
    monkeypatch.setattr("mnemodex.pipelines.lm.states.LanguageModel", lambda *_, **__: pytest.fail("loaded"))
    result = mnemodex.build({**recipe, "chunks": {**recipe["chunks"], **change}})
    assert computed(result)["chunks"] == 3 and READ not in computed(result)
    assert chunks_of(tmp_path / "memory") != before
    assert verify(tmp_path / "memory").problems == []


def test_more_documents_are_read_alone(recipe, tmp_path):
    mnemodex.build(recipe)
    before = chunks_of(tmp_path / "memory")
    write_jsonl(tmp_path / "notes" / "part-9.jsonl", records()[18:20])
    made = computed(mnemodex.build(recipe))
    assert made[READ] == made["chunks"] == made["lm_states/tiny"] == 1
    assert {*before} < {*chunks_of(tmp_path / "memory")}


def test_documents_in_other_files_keep_their_states_and_events(recipe, tmp_path, monkeypatch):
    mnemodex.build(recipe)
    before = chunks_of(tmp_path / "memory")
    source = write_parts(tmp_path / "moved", records()[:18], 2)
    monkeypatch.setattr("mnemodex.pipelines.lm.states.LanguageModel", lambda *_, **__: pytest.fail("loaded"))
    mnemodex.build({**recipe, "source": {**recipe["source"], "path": str(source)}})
    assert chunks_of(tmp_path / "memory") == before


def test_other_documents_keep_their_events_when_one_is_deleted(recipe, tmp_path):
    recipe = {**recipe, "indexes": {"next": {"type": "knn_lm"}}}
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    (key, gone), *_ = memory.sql("SELECT key, doc_id FROM documents ORDER BY key").fetchall()
    rest = [row for row in chunks_of(tmp_path / "memory") if row[1] != gone]
    memory.delete([key])
    memory.close()
    assert chunks_of(tmp_path / "memory") == rest
    mnemodex.build(recipe)
    assert chunks_of(tmp_path / "memory") == rest
    assert verify(tmp_path / "memory").problems == []


def test_no_file_holds_what_was_read_of_a_purged_document(recipe, tmp_path):
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    (key, gone), *_ = memory.sql("SELECT key, doc_id FROM documents ORDER BY key").fetchall()
    positions = [row[0] for row in memory.sql(f"SELECT position FROM lm_states_tiny WHERE doc_id = {gone}").fetchall()]
    memory.delete([key], purge=True)
    memory.close()
    files = [*(tmp_path / "memory" / "tables" / "lm_readings").rglob("*.parquet")]
    held = np.concatenate([parquet.column(file, "position") for file in files])
    assert len(files) == 3 and len(held) and not np.isin(held, positions).any()
    assert verify(tmp_path / "memory").problems == []


def test_a_plan_counts_the_model_where_it_reads(recipe, tmp_path):
    quiet = {**recipe, "lm": {"tiny": {**recipe["lm"]["tiny"], "surprisal": False}}}
    mnemodex.build(quiet)
    found = models_of(parse_recipe(quiet, name="recipe", base=tmp_path), tmp_path / "memory", 18)
    (use,) = found.values()
    assert [*found] == [READ] and use.parameters == parameters(recipe["lm"]["tiny"]["model"], with_output=True)


def test_texts_without_an_event_are_chunks_of_their_own(recipe, tmp_path):
    rows = [
        {"id": "empty", "title": "t", "text": ""},
        {"id": "blank", "title": "t", "text": " \n "},
        {"id": "nothing", "text": ""},
        {"id": "one", "text": "a"},
        {"id": "few", "text": " a b c "},
        {"id": "long", "text": "The ship sails at noon. " * 20},
    ]
    source = write_jsonl(tmp_path / "short.jsonl", rows)
    mnemodex.build({**recipe, "source": {"path": str(source)}})
    memory = mnemodex.open(tmp_path / "memory")
    spans = memory.sql('SELECT d.key, c.start, c."end" FROM chunks c JOIN documents d USING (doc_id)').fetchall()
    assert sorted(row for row in spans if row[0] != "long") == [("empty", 0, 0), ("few", 1, 6), ("one", 0, 1)]
    assert sum(row[0] == "long" for row in spans) > 1
    assert verify(tmp_path / "memory").problems == []


def test_surprisals_are_read_also_where_the_table_has_none(recipe, tmp_path):
    mnemodex.build(recipe)
    quiet = {**recipe, "lm": {"tiny": {**recipe["lm"]["tiny"], "surprisal": False}}}
    mnemodex.build({**quiet, "memory": str(tmp_path / "quiet")})
    assert chunks_of(tmp_path / "memory") == chunks_of(tmp_path / "quiet")
    assert {row[-1] for row in states_of(tmp_path / "quiet")} == {None}


def test_a_prefix_of_the_tokenizer_comes_before_every_window(recipe, tmp_path):
    from tokenizers.processors import TemplateProcessing

    made = type(byte_level()).from_str(byte_level().to_str())
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 3)])
    make("llama").save_pretrained(tmp_path / "model")
    model = save(made, tmp_path / "model")
    mnemodex.build({**recipe, "lm": {"tiny": {**recipe["lm"]["tiny"], "model": model}}})
    assert len(chunks_of(tmp_path / "memory")) > 18
    assert manifest(tmp_path / "memory").language_models["tiny"].prefix == (3,)
    assert verify(tmp_path / "memory").problems == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"chunks": {"by": "events", "lm": "big"}}, "chunks.lm names 'big'; language models are: tiny"),
        ({"lm": {}}, "chunks: needs the states of a language model; add a section, as `lm: {smol: {model: FOLDER}}`"),
        ({"chunks": {"by": "events"}, "lm": {}}, "chunks: needs the states of a language model; add a section"),
        ({"chunks": {"by": "events", "min_size": 9, "max_size": 17}}, "give 18 or more"),
        ({"chunks": {"by": "events", "min_size": 0}}, "chunks.min_size"),
        ({"chunks": {"by": "events", "window": 0}}, "chunks.window"),
        ({"chunks": {"by": "events", "refine": "density"}}, "chunks.refine"),
        ({"chunks": {"by": "events", "gama": 1}}, "did you mean 'gamma'"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(recipe, section, message):
    with pytest.raises(RecipeError) as caught:
        mnemodex.build({**recipe, **section})
    assert message in str(caught.value)


def test_without_a_name_the_first_language_model_reads(recipe):
    first = {"first": {**recipe["lm"]["tiny"], "window": 40}, **recipe["lm"]}
    result = mnemodex.build({**recipe, "lm": first, "chunks": {"by": "events"}})
    assert "lm_readings/first" in computed(result) and READ not in computed(result)


words = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.sampled_from(
        [" ", "\n\n", "Ship", "日本語のテキスト", "ภาษาไทย", "e\u0301", "👩‍👩‍👧‍👦", "مرحبا", "हिन्दी", "x" * 90]
    ),
)


@given(data=st.data())
def test_every_character_of_any_script_is_in_one_event_but_white_space_between_them(data):
    text = "".join(data.draw(st.lists(words, max_size=30)))
    starts = np.array([start for start, _ in byte_level().encode(text).offsets], np.int64)
    opening = data.draw(st.integers(0, 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = max(0, len(starts) - opening)
    chunker = EventChunks(
        by="events", gamma=data.draw(st.floats(-1, 2)), min_size=3, max_size=data.draw(st.integers(6, 40))
    )
    keys = rng.normal(size=(rows, 4)).astype(np.float16)
    spans = cut_text(text, starts, rng.gamma(1, 2, rows).astype(np.float32), keys, chunker)
    assert spans.dtype == np.int64 and spans.shape[1:] == (2,)
    if not text:
        assert spans.tolist() == [[0, 0]]
        return
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())
    covered = np.zeros(len(text), np.int64)
    for start, end in spans:
        covered[start:end] += 1
        assert text[start:end] == text[start:end].strip() != ""
    assert covered.max(initial=0) <= 1
    assert all(text[place].isspace() for place in np.flatnonzero(covered == 0))
    begins = rate_begins(text, starts)
    sizes = np.diff(np.searchsorted(starts, [*spans[1:, 0], len(text)], side="left"))
    assert len(spans) < 2 or (sizes[:-1] <= chunker.max_size + 4).all()
    assert len(begins) == len(starts)
