"""Counts of the random faults, printed at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fuzzing import SEED

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTS: dict[str, Counter[str]] = {}


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What a test counts; those of a test's cases are added up."""
    yield _COUNTS.setdefault(request.node.originalname, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _COUNTS:
        terminalreporter.section(f"random faults, FAULTS_SEED={SEED}")
    for name, counts in _COUNTS.items():
        found = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        terminalreporter.write_line(f"{name}: {found}")
