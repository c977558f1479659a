"""What a server answers: one operation a file, without HTTP. Routes and tools of assistants call the same functions."""

from __future__ import annotations

from functools import partial, update_wrapper
from typing import TYPE_CHECKING

from mnemodex.deploy.feedback import FeedbackFile
from mnemodex.deploy.operations.answer import AnswerForm, answer
from mnemodex.deploy.operations.base import Operation
from mnemodex.deploy.operations.embed import EmbedForm, embed
from mnemodex.deploy.operations.feedback import FeedbackForm, feedback
from mnemodex.deploy.operations.fetch import FetchForm, fetch
from mnemodex.deploy.operations.graph import GraphForm, graph
from mnemodex.deploy.operations.highlight import HighlightForm, highlight
from mnemodex.deploy.operations.next_token import NextTokenForm, next_token
from mnemodex.deploy.operations.ngrams import NgramsForm, ngrams
from mnemodex.deploy.operations.predictions import PredictionsForm, predictions
from mnemodex.deploy.operations.search import SearchForm, search
from mnemodex.deploy.operations.sql import SqlForm, sql
from mnemodex.deploy.statements import Statements
from mnemodex.deploy.threads import BoundedThreads

if TYPE_CHECKING:
    from mnemodex.deploy.readers import Readers
    from mnemodex.deploy.settings import ServerSettings

_SQL_SHARE = 0.8
"""Of the seconds of a request, those that a statement may run: its process has to be stopped within the others."""


def operations_of(settings: ServerSettings, readers: Readers) -> dict[str, Operation]:
    """Return the operations of `POST /v1/NAME` of a server, by their names."""
    statements = Statements(seconds=_SQL_SHARE * settings.limits.seconds) if settings.sql else None
    run_sql = update_wrapper(partial(sql, statements=statements), sql)
    file = FeedbackFile(settings.feedback) if settings.feedback is not None else None
    judge = update_wrapper(partial(feedback, file=file), feedback)
    run_answer = update_wrapper(partial(answer, readers=readers), answer)
    answering, stating = BoundedThreads("answer", running=8, waiting=24), BoundedThreads("sql", running=4, waiting=0)
    operations = (
        Operation("search", SearchForm, search, "The best hits of questions in an index"),
        Operation("fetch", FetchForm, fetch, "Documents by their keys, or chunks by their ids"),
        Operation("embed", EmbedForm, embed, "The vectors of texts"),
        Operation("graph", GraphForm, graph, "The part of a graph that answers a question, and its picture"),
        Operation("highlight", HighlightForm, highlight, "Where a question's words are in texts"),
        Operation("ngrams", NgramsForm, ngrams, "How often phrases occur, where, and what follows them"),
        Operation("next-token", NextTokenForm, next_token, "The neighbours of a language model's keys in a datastore"),
        Operation("predictions", PredictionsForm, predictions, "The answers that pairs give to questions"),
        Operation("feedback", FeedbackForm, judge, "Whether a hit answers a question"),
        Operation("sql", SqlForm, run_sql, "The rows of one SELECT over the tables and indexes", stating),
        Operation("answer", AnswerForm, run_answer, "Answers to questions, from the hits of an index", answering),
    )
    return {operation.name: operation for operation in operations}
