"""The errors xeval raises on purpose.

Every message is one line that says what was wanted, what was got and how to fix it. The command line prints that
line and exits with 2; a program that imports xeval can catch `XevalError` or one of its subclasses.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_ALIKE = 0.5  # least share of letters in common for one word to be a likely misspelling of another
_MOST_LISTED = 30  # more than there are recipes


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that is most like `name`; None if none is like it."""
    folded = {other.casefold(): other for other in known}
    matches = get_close_matches(name.casefold(), folded, n=1, cutoff=_ALIKE)
    return folded[matches[0]] if matches else None


class XevalError(Exception):
    """An error that the user, or the program that calls xeval, can fix."""


class UnknownNameError(XevalError):
    """A task, model alias, language, recipe or reference that is not defined."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", other_names: Mapping[str, str] | None = None
    ) -> None:
        """`other_names` maps other words that people write to the known names that they stand for."""
        names, others = sorted(known), other_names or {}
        meant = nearest(name, [*names, *others])
        meant = others.get(meant or "", meant)
        listed = f"known: {', '.join(names[:_MOST_LISTED])}"
        if len(names) > _MOST_LISTED:
            listed += f" and {len(names) - _MOST_LISTED} more"
        if meant is None:
            suggestion = f"; {listed}" if names else "; none is defined"
        else:
            suggestion = f": did you mean {meant!r}?" + (f" ({listed})" if 1 < len(names) <= _MOST_LISTED else "")
        super().__init__(f"unknown {kind} {name!r}{suggestion}{hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle needs to make the error again from its message, in another process for instance."""
        return _again, (type(self), *self.args), self.__dict__


def _again(error: type[UnknownNameError], message: str) -> UnknownNameError:
    return error.__new__(error, message)


class ArgumentError(XevalError):
    """A function argument with a value that it does not take."""


class DefinitionError(XevalError):
    """A task, recipe or reference file that cannot be read as one."""


class DataError(XevalError):
    """Rows that are missing, unlabelled, of the wrong number or different from those that a run used."""


class NoRowsError(DataError):
    """Rows that a copy of the data does not hold."""


class UnansweredError(DataError):
    """Rows without right answers, or with placeholders in their place."""


class CopyError(DataError):
    """Something wrong with a copy of the data. Code that knows where the copy comes from adds what to do about it."""


class ModelError(XevalError):
    """A checkpoint that cannot be obtained or cannot be used safely."""


class BundleError(XevalError):
    """A file that is not a bundle, or a bundle that is damaged or lacks what was asked for."""


class PreflightError(XevalError):
    """A run whose numbers would be worthless, stopped before anything is computed."""


class TrainingError(XevalError):
    """Fine-tuning that broke down, for instance because the loss was not a number."""


class PredictionError(XevalError):
    """Logits that are not finite numbers."""


class StoreError(XevalError):
    """A record or prediction file that is damaged or belongs to another version."""


class ClaimError(StoreError):
    """A folder that another process has taken over, since this one was suspended for so long that it seemed dead."""
