"""Changes and builds in any order; `make slow` tries more of them."""

from __future__ import annotations

from hypothesis import settings
from rebuilds import Rebuilds

TestRebuilds = Rebuilds.TestCase
TestRebuilds.settings = settings(max_examples=2, stateful_step_count=12, deadline=None)
