"""Arguments of the functions that `import xeval` offers, checked by their names before anything is done with them.

The command line reads words and knows their types. A program may pass anything: a `Path` for a name, NumPy numbers, one
value for several. A value whose meaning is clear is converted to what the library works with; anything else is refused.
"""

import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from xeval.support.errors import ArgumentError
from xeval.support.files import in_home
from xeval.support.text import one_line

P = ParamSpec("P")
R = TypeVar("R")
_LARGEST = 2**63 - 1  # the largest whole number that torch takes as a seed


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap `function` so that its arguments, including those among its `**options`, are checked first.

    It raises ArgumentError, naming the argument, for a value that the argument does not take. None is accepted if it is
    the default, for options, and to mean "none of them" for an argument that takes several values.
    """
    signature = inspect.signature(function)
    options_name = next((name for name, each in signature.parameters.items() if each.kind is each.VAR_KEYWORD), "")
    may_be_none = {name for name, each in signature.parameters.items() if each.default is None}

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        options: dict[str, Any] = bound.arguments.get(options_name, {})
        for values, optional in ((bound.arguments, may_be_none), (options, options.keys())):
            for name in values.keys() & _ARGUMENTS.keys():
                if values[name] is not None or name not in optional or _ARGUMENTS[name].is_several:
                    values[name] = _ARGUMENTS[name].checked(name, values[name])
        return function(*bound.args, **bound.kwargs)

    return checked


def several_names(name: str, value: object) -> list[str]:
    """Return the names or folders in the argument `name`, which may be a single one. Raises ArgumentError as above."""
    names: list[str] = _Argument("names or folders", _text, is_several=True).checked(name, value)
    return names


@dataclass(frozen=True)
class _Argument:
    """What an argument takes, in words, and the function that converts it or raises TypeError or ValueError."""

    wanted: str
    as_meant: Callable[[Any], Any]
    is_several: bool = False

    def checked(self, name: str, value: object) -> Any:
        try:
            return [self.as_meant(each) for each in _each_of(value)] if self.is_several else self.as_meant(value)
        except (TypeError, ValueError):
            raise ArgumentError(f"{name}: wanted {self.wanted}, got {one_line(repr(value))[:80]}") from None


def _each_of(value: object) -> Iterable[object]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike | Mapping):
        return value
    return [] if value is None else [value]


def _text(value: object) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError
    return text


def _path(value: object) -> str:
    """Return a path, with a leading ~ replaced, since no shell has done that."""
    text = _text(value)
    return str(in_home(text)) if text.startswith("~") else text


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not 0 <= (number := operator.index(value)) <= _LARGEST:
        raise ValueError
    return number


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _of_torch(value: object) -> str:
    """Return the word for a device or an arithmetic, given as such or as a torch.device or torch.dtype."""
    return str(value).removeprefix("torch.") if type(value).__module__ == "torch" else _text(value)


def _model(value: object) -> object:
    """Return a name, or a pair of objects, which is checked where models are read."""
    return value if isinstance(value, tuple | list) else _text(value)


def _reporter(value: object) -> object:
    """Return an object that has what `xeval.support.progress.Reporter` asks for."""
    if not all(hasattr(value, name) for name in ("say", "phase", "draws_bars")):
        raise TypeError
    return value


def _plain(value: Any) -> Any:
    """Return NumPy numbers and arrays as plain Python values, which a record can hold."""
    return value.tolist() if hasattr(value, "tolist") else value


def _by_name(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {_text(name): _plain(each) for name, each in value.items()}


_FILE, _FOLDER, _EITHER = (_Argument(wanted, _path) for wanted in ("a file", "a folder", "a file or a folder"))
_SIDE = _Argument("a model's name or a folder", _text)
_NAME = _Argument("a name or the path of a file", _text)
_N_ROWS, _SEED = _Argument("a whole number of rows, 1 or more", _whole), _Argument("a whole number from 0", _whole)
_SWITCH = _Argument("True or False", _truth)
_ARGUMENTS = {
    "a": _SIDE,
    "b": _SIDE,
    "baseline": _FILE,
    "destination": _FOLDER,
    "device": _Argument("auto, cpu, cuda or cuda:N", _of_torch),
    "dtype": _Argument("auto, float32 or bfloat16", _of_torch),
    "every_checkpoint": _SWITCH,
    "keep_weights": _SWITCH,
    "labels": _EITHER,
    "language": _Argument("a language, by code or English name", _text),
    "languages": _Argument("languages, by code or English name", _text, is_several=True),
    "max_eval": _N_ROWS,
    "max_train": _N_ROWS,
    "model": _Argument("a name, a folder, or a transformers model together with its tokenizer", _model),
    "overrides": _Argument('values by name, as in {"epochs": 3}', _by_name),
    "predictions": _EITHER,
    "recipe": _NAME,
    "reference": _NAME,
    "reporter": _Argument("a reporter, such as xeval.support.progress.Lines()", _reporter),
    "results": _FOLDER,
    "seed": _SEED,
    "seeds": _Argument("whole numbers from 0, as in [1, 2, 3]", _whole, is_several=True),
    "sources": _Argument("folders", _path, is_several=True),
    "sweep": _Argument('values to try by name, as in {"epochs": [2, 3]}', _by_name),
    "task": _NAME,
    "tasks_dirs": _Argument("folders", _path, is_several=True),
    "test_split": _Argument("the name of a split", _text),
    "train": _SWITCH,
    "train_language": _Argument("a language, by code or English name", _text),
}
