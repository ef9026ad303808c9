"""Reading of the TOML files that people write, strictly checked by pydantic.

An unknown key, a wrong type or an absurd size is refused with an error that names the file and the place.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeval.support.errors import DefinitionError
from xeval.support.files import read_ordinary
from xeval.support.text import one_line

MAX_FILE_BYTES = 1_000_000
_MAX_DEPTH = 200  # tomllib's time grows with the square of a dotted key's parts, and 50,000 of them take minutes

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
LanguageCode = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8})*$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
HubId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=200)]
_SEGMENT = r"(?:[A-Za-z0-9_*?-]|\{language\})(?:[A-Za-z0-9._*?-]|\{language\})*"  # never "." or ".."
FilePattern = Annotated[str, Field(pattern=rf"^{_SEGMENT}(/{_SEGMENT})*$", max_length=200)]


class Printed(float):
    """A number with the text that it was written as, since `82`, `82.0` and `82.00` differ in precision."""

    def __new__(cls, written: str | float) -> Self:
        printed = super().__new__(cls, written)
        printed.text = written.text if isinstance(written, Printed) else str(written)
        return printed

    text: str

    @property
    def decimals(self) -> int:
        return max(0, -int(Decimal(self.text).as_tuple().exponent))


class Frozen(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


Definition = TypeVar("Definition", bound=Frozen)


def read_definition(path: Path, noun: type[Definition], max_bytes: int = MAX_FILE_BYTES) -> Definition:
    """Read the file at `path`, which people wrote or reviewed: a task, a recipe, a reference, a baseline.

    Raises DefinitionError, naming the file, the place in it, what was wanted and what was got.
    """
    return as_definition(path, read_table(path, noun.__name__.lower(), max_bytes), noun)


def as_definition(path: Path, table: Mapping[str, Any], noun: type[Definition]) -> Definition:
    """Check `table`, from the file at `path`, and return it as a definition. Raises DefinitionError."""
    try:
        return noun.model_validate(table)
    except ValidationError as error:
        raise DefinitionError(f"{path}: {first_complaint(error)}") from error


def read_table(path: Path, what: str, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Read the `what` file at `path`: arrays as tuples, decimal numbers as printed. Raises DefinitionError."""
    try:
        text = read_ordinary(path, max_bytes).decode("utf-8-sig")
        if any(part.count(".") > _MAX_DEPTH for part in re.split(r"[=,{\n]", text)):
            raise DefinitionError(f"{path}: a key of more than {_MAX_DEPTH} parts is not allowed in a {what} file")
        return {key: _for_pydantic(value) for key, value in _parsed(text).items()}
    except OSError as error:
        raise DefinitionError(f"{path}: cannot read this {what} file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path}: not UTF-8 at byte {error.start}; save the {what} file as UTF-8") from error
    except TypeError as error:
        raise DefinitionError(f"{path}: dates and times are not allowed in a {what} file") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one, and so is a number of 5,000 digits
        raise DefinitionError(f"{path}: not readable as TOML: {one_line(error)}") from error


@lru_cache(maxsize=256)  # each look-up of a name reads all files of its noun
def _parsed(text: str) -> dict[str, Any]:
    """Parse the TOML in `text`. The result is cached, so callers must not change it."""
    return tomllib.loads(text, parse_float=Printed)


def _for_pydantic(value: object) -> object:
    """Return `value` with arrays as tuples, as strict pydantic wants them.

    Raises TypeError for dates and times, which no field takes, and ValueError for whole numbers of more than 64 bits.
    """
    if isinstance(value, dict):
        return {key: _for_pydantic(held) for key, held in value.items()}
    if isinstance(value, list):
        return tuple(_for_pydantic(held) for held in value)
    if isinstance(value, date | time):
        raise TypeError
    if isinstance(value, int) and value.bit_length() > 64:
        raise ValueError("a whole number of more than 64 bits")
    return value


def first_complaint(error: ValidationError) -> str:
    """Return pydantic's first error as one line: the place, what was wanted and what was got."""
    finding = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    got = "" if finding["type"] in ("missing", "value_error") else f", got {one_line(repr(finding['input']))[:80]}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = finding["msg"].removeprefix("Value error, ").replace("a valid tuple", "a valid array")
    message = re.sub("a valid dictionary( or instance of [A-Za-z]+)?", "a valid table", message)
    return one_line(f"{place or 'file'}: {message}{got}{more}")
