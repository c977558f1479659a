"""Many sequences of changes, of more kinds of indexes."""

from __future__ import annotations

import pytest
from changes import small_partitions
from hypothesis import settings
from kept_changes import (
    KeptChanges,
    KeptMaskedChanges,
    KeptMaskedGeneratedChanges,
    KeptMaskedGraphChanges,
    KeptMaskedPairChanges,
)
from pair_changes import words_generator

__all__ = ["small_partitions", "words_generator"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.usefixtures("small_partitions")
class TestManyChanges(KeptChanges.TestCase):
    settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


@pytest.mark.usefixtures("small_partitions")
class TestManyMaskedChanges(KeptMaskedChanges.TestCase):
    settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


@pytest.mark.usefixtures("small_partitions")
class TestManyMaskedGraphChanges(KeptMaskedGraphChanges.TestCase):
    settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


@pytest.mark.usefixtures("small_partitions")
class TestManyMaskedPairChanges(KeptMaskedPairChanges.TestCase):
    settings = settings(max_examples=30, stateful_step_count=15, deadline=None)


@pytest.mark.usefixtures("small_partitions", "words_generator")
class TestManyMaskedGeneratedChanges(KeptMaskedGeneratedChanges.TestCase):
    settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
