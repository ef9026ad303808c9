"""Kinds of task by name: those that come with xeval, and other packages' entry points of the group `xeval.kinds`."""

from functools import cache
from importlib.metadata import entry_points

from xeval.kinds.kind import Kind
from xeval.support.errors import DefinitionError, UnknownNameError, XevalError
from xeval.support.text import one_line

GROUP = "xeval.kinds"


@cache
def _own() -> dict[str, type[Kind]]:
    from xeval.kinds.answers import Answers
    from xeval.kinds.choices import MultipleChoice
    from xeval.kinds.mining import BitextMining
    from xeval.kinds.pairs import PairClassification
    from xeval.kinds.retrieval import SentenceRetrieval
    from xeval.kinds.sentences import SentenceClassification
    from xeval.kinds.tags import Tagging

    own = (
        PairClassification,
        SentenceClassification,
        Tagging,
        Answers,
        SentenceRetrieval,
        BitextMining,
        MultipleChoice,
    )
    return {kind.name: kind for kind in own}


def get_kind(name: str) -> type[Kind]:
    """Return the kind of task called `name`.

    Raise UnknownNameError with the nearest name, or DefinitionError for an entry point that cannot be loaded.
    """
    if name in _own():
        return _own()[name]
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in others:
        raise UnknownNameError("kind of task", name, [*_own(), *others])
    entry = others[name]
    try:
        kind = entry.load()
    except Exception as error:  # importing another package may raise anything
        raise DefinitionError(
            f"kind of task {name!r}: {entry.value} cannot be loaded ({type(error).__name__}: {one_line(error)[:160]});"
            " install the package that has it again"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Kind) and kind.name == name):
        raise DefinitionError(f"kind of task {name!r}: {entry.value} is not an xeval.kinds.kind.Kind of that name")
    loaded: type[Kind] = kind
    return loaded


def unit_of(name: str) -> str:
    """Return what the kind called `name` calls its rows; "rows" if its package is not installed here."""
    try:
        return get_kind(name).unit
    except XevalError:
        return "rows"


def all_kinds() -> list[str]:
    """Return the names of all kinds, xeval's own first."""
    return list(dict.fromkeys([*_own(), *sorted(entry.name for entry in entry_points(group=GROUP))]))
