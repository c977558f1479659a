from __future__ import annotations

import numpy as np
import pytest

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.passed import identity_of


class Letters:
    """What a caller may pass."""

    def __init__(self, table):
        self.table = table


@pytest.mark.parametrize("identity", [b"letters", lambda: "letters", 1.5, ["letters"], ""])
def test_an_identity_that_is_no_text_is_refused(identity):
    made = Letters(None)
    made.identity = identity
    with pytest.raises(RecipeError, match=r"Letters: its attribute `identity` is .*; make it a string that changes"):
        identity_of(made)


def test_a_method_called_identity_is_refused():
    class Named(Letters):
        def identity(self):
            return "letters"

    with pytest.raises(RecipeError, match="of type method; make it a string"):
        identity_of(Named(None))


def test_an_array_of_objects_has_no_identity_of_its_own():
    with pytest.raises(RecipeError, match=r"\(it holds a ndarray of objects\); give it an attribute `identity`"):
        identity_of(Letters(np.array(["a", None], object)))
    assert identity_of(Letters(np.arange(3))) == identity_of(Letters(np.arange(3)))
    assert identity_of(Letters(np.arange(3))) != identity_of(Letters(np.arange(4)))
