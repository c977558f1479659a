"""Many changes and builds in any order, of more kinds of indexes."""

from __future__ import annotations

import pytest
from hypothesis import settings
from rebuilds import EXACT, TRAINED, Rebuilds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MORE = {
    **EXACT,
    **TRAINED,
    "keys": {"type": "seal"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
    "lite": {"type": "graph", "method": "bridge-lite"},
}


class ManyRebuilds(Rebuilds):
    indexes = MORE


TestManyRebuilds = ManyRebuilds.TestCase
TestManyRebuilds.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
