"""Memories and retrievers that are awaited, for tests that do not await."""

from __future__ import annotations

import inspect


class Awaited:
    """Gives what an object gives; coroutines are run to their end."""

    def __init__(self, runner, inner):
        self._runner = runner
        self._inner = inner

    def __repr__(self):
        return repr(self._inner)

    def __getattr__(self, name):
        member = getattr(self._inner, name)
        if not callable(member):
            return member

        def call(*arguments, **options):
            result = member(*arguments, **options)
            if inspect.isawaitable(result):
                return self._runner.run(result)
            is_ours = type(result).__module__.startswith("mnemodex.retrievers.remote")
            return Awaited(self._runner, result) if is_ours else result

        return call
