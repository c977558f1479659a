"""Commands as tests run them: in this process, with what they left."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass
class Ran:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Stdout, which is one JSON object and nothing else; NaN and infinity are none."""

        def refuse(name):
            raise AssertionError(f"{name} is not JSON")

        assert self.code == 0, self.err
        return json.loads(self.out, parse_constant=refuse)


def assert_refused(ran, *, code=2, saying):
    """One line on stderr that says what is wrong, nothing on stdout, no traceback."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    assert saying in ran.err, ran.err
    assert "Traceback" not in ran.err and "defect" not in ran.err
