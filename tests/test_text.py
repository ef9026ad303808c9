"""Numbers and their nouns."""

import pytest

from xeval.support.text import counted, numbered


@pytest.mark.parametrize(
    ("n", "things", "said"),
    [
        (1, "languages", "1 language"),
        (0, "pairs", "0 pairs"),
        (4927, "pairs", "4,927 pairs"),
        (1, "pairs of seeds", "1 pair of seeds"),
        (1, "queries", "1 query"),
        (1, "classes", "1 class"),
        (2, "queries", "2 queries"),
    ],
)
def test_one_thing_is_no_plural(n, things, said):
    assert counted(n, things) == said


def test_numbers_of_seeds_are_listed():
    assert numbered("seeds", [42]) == "seed 42"
    assert numbered("seeds", [1, 2]) == "seeds 1, 2"
