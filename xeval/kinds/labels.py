"""Labels by name: one matcher for the heads of checkpoints, for the meanings of numbers in files, and for cells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from xeval.kinds.kind import Keys, Kind
from xeval.support.errors import DataError
from xeval.support.text import one_line

_NUMBER = re.compile(r"(\d{1,6})(\.0+)?")
_MISSING = {"", "-", "-1", "-1.0", "nan", "none", "null"}

Label = Annotated[str, Field(min_length=1, max_length=2000)]


class LabelKeys(Keys):
    """The keys of a task whose answers are labels."""

    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]
    """Names of the labels, in the order of their numbers in the data."""
    label_aliases: dict[str, str] = Field(default={})
    """How some copies of the data spell a label → the label."""

    @model_validator(mode="after")
    def _consistent(self) -> LabelKeys:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: one is listed twice")
        for alias, label in self.label_aliases.items():
            if label not in self.labels:
                raise ValueError(f"label_aliases: {alias!r} means {label!r}, which is not a label")
        return self


class OfLabels(Kind):
    """A kind of task whose head has an output for each label of the task file."""

    @property
    def labels(self) -> tuple[str, ...]:
        labels: tuple[str, ...] = self.keys.labels
        return labels

    @property
    def label_aliases(self) -> Mapping[str, str]:
        aliases: dict[str, str] = self.keys.label_aliases
        return aliases

    @property
    def matcher(self) -> LabelMatcher:
        return LabelMatcher(self.labels, self.label_aliases)


class LabelMatcher:
    """Finds which of a task's labels is meant, as an index; None if that is uncertain.

    Upper and lower case do not matter, nor whether accents are characters of their own, unless ignoring that would make
    two labels one.
    """

    def __init__(self, labels: Sequence[str], aliases: Mapping[str, str]) -> None:
        self._labels = labels
        self._exact = {label: index for index, label in enumerate(labels)}
        self._exact |= {alias: self._exact[label] for alias, label in aliases.items() if alias not in self._exact}
        meanings: dict[str, set[int]] = {}
        for name, index in self._exact.items():
            meanings.setdefault(_folded(name), set()).add(index)
        self._folded = {name: min(indices) for name, indices in meanings.items() if len(indices) == 1}

    def of_name(self, name: object) -> int | None:
        text = str(name).strip()
        return self._exact.get(text, self._folded.get(_folded(text)))

    def of_cells(self, where: str, values: Iterable[Any], names: Sequence[str] | None) -> dict[Any, int | None]:
        """Return the label that each distinct value of a column means. Raise DataError if values could mean two labels.

        `names` are the meanings that the file gives its numbers. If it gives none, numbers are indices into the task's
        labels, also when written as text or with a decimal point. If the labels themselves are numbers ("1" to "5"),
        all values are read alike: as names if all of them are names, otherwise as indices.
        """
        different = dict.fromkeys(values)
        different = {value: None for value in different if not is_missing(value) or self._by_name(value) is not None}
        if names is not None:
            return {value: self._through(names, value) for value in different}
        by_name = {value: self._by_name(value) for value in different}
        in_order = {value: self._in_order(value) for value in different}
        if all(None in (by_name[value], in_order[value]) or by_name[value] == in_order[value] for value in different):
            return {value: in_order[value] if index is None else index for value, index in by_name.items()}
        if None in by_name.values():
            return in_order
        if None not in in_order.values() and not all(isinstance(value, str) for value in different):
            raise DataError(
                f"{where}: labels {', '.join(sorted(map(str, different)))[:80]} may be names, or numbers that count"
                " through the task's labels from 0; write them as text to have them read as names"
            )
        return by_name

    def wanted(self, stray: Any, names: Sequence[str] | None) -> str:
        """Return what is wanted instead of a cell that means no label; for a name, also how to make it one."""
        labels, number = f"one of {', '.join(self._labels)}", whole_number(stray)
        if names and number is not None and 0 <= number < len(names):
            stray = names[number]
        if not isinstance(stray, str) or is_missing(stray) or whole_number(stray) is not None:
            return labels
        return f"{labels}, or other names that [label_aliases] in the task file has for them"

    def is_in_order(self, names: Sequence[str]) -> bool:
        """Return whether the numbers that stand for `names` are the indices of the task's labels."""
        return all(self._through(names, number) == number for number in range(len(names)))

    def _by_name(self, value: Any) -> int | None:
        named, number = self.of_name(value) if isinstance(value, str) else None, whole_number(value)
        return self.of_name(number) if named is None and number is not None else named

    def _in_order(self, value: Any) -> int | None:
        number = whole_number(value)
        return number if number is not None and 0 <= number < len(self._labels) else None

    def _through(self, names: Sequence[str], value: Any) -> int | None:
        """Return the label that a number means by the file's name for it; a name that is a number is an index."""
        number = whole_number(value)
        if number is None or not 0 <= number < len(names):
            return None
        named = self.of_name(names[number])
        return named if named is not None else self._in_order(names[number])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().casefold())


def whole_number(value: Any) -> int | None:
    """Return the number in 1, 1.0, "1" or "1.0"; None for anything else, including truth values."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        return int(match[1]) if match else None
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def is_missing(value: Any) -> bool:
    """Return whether a cell says that there is no answer: empty, -1 or a dash, for instance."""
    return value is None or (isinstance(value, str | int | float) and str(value).strip().casefold() in _MISSING)


def is_cell(value: Any) -> bool:
    """Return whether a value has a type that a label can be written as."""
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def said_of(value: Any, names: Sequence[str] | None) -> str:
    """Return a cell as messages show it, with the file's name for it."""
    number = whole_number(value)
    called = (
        f" ({one_line(repr(names[number]))[:60]} by the file)"
        if names and number is not None and 0 <= number < len(names)
        else ""
    )
    return one_line(repr(value))[:80] + called
