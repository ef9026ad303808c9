"""Files of predictions that were computed elsewhere → the predictions, by language.

- XTREME's submission: `test-<language>.tsv`, with a prediction on each line, and `.json` with answers by the id of
  their question (https://github.com/google-research/xtreme);
- tables with named columns: Parquet, CSV, TSV and JSON Lines, such as the `predictions.txt` of transformers' scripts.

A file is in one language, given by its own name or its folder's, or else it has a column `language`.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xeval.data import tables
from xeval.data.tables import Columns, Wanted
from xeval.definitions.registry import all_suites
from xeval.definitions.task import Task
from xeval.kinds.given import KEY, Given
from xeval.kinds.rows import LANGUAGE, Rows, Table
from xeval.support.errors import DataError
from xeval.support.files import visible
from xeval.support.json_text import parse_json
from xeval.support.text import is_whole_number, one_line

GOLD = "label"  # may also be what a file calls its predictions, if it has no other column of them
PREDICTION = ("prediction", "predictions", "predicted", "pred", "predicted_label", "prediction_text", GOLD)
RIGHT_ANSWER = (GOLD, *PREDICTION[:-1])  # a file of right answers has the form of one of predictions
LOGITS = ("logits", "scores")
ID = ("id", "guid", "example_id", "pairID", "pair_id", "qid")
NUMBER = ("row", "index", "idx")
_UNNAMED = ("", "Unnamed: 0", "__index_level_0__")  # what pandas calls the index of a frame
_KNOWN = tuple(name for name in (*PREDICTION, *LOGITS, *ID, *NUMBER, *LANGUAGE) if name != GOLD)


@dataclass(frozen=True)
class _OfPredictions(Wanted):
    """The columns to read from a file of predictions."""

    def refuse_lacking(self, path: Path, names: Sequence[str]) -> None:
        """Also raise DataError if `label` would be read as predictions and is next to a column such as `y_pred`."""
        super().refuse_lacking(path, names)
        like = next((name for name in names if "pred" in name.casefold()), None)
        if GOLD in names and like is not None and not {*PREDICTION[:-1]} & {*names}:
            raise DataError(
                f"{path}: column {GOLD!r} would be read as predictions, but there is {one_line(repr(like))[:80]} as"
                f" well; rename the one with the predictions to {PREDICTION[0]!r}"
            )


SUFFIXES = (".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".json")
_PACKED = (".gz", ".zip", ".xz", ".bz2", ".zst")
MOST_ROWS = 100_000_000


def read_given(path: Path, task: Task, languages: Sequence[str]) -> dict[str, Given]:
    """Read the predictions in a file, or in the files of a folder, by language in the order of the task's languages.

    If `languages` are given, no others are read. If there is only one, a single file whose name tells no language is
    taken to be in it.
    Raises DataError for missing predictions, and for files that cannot be read or whose language is in doubt.
    """
    return _by_language(path, task, languages, PREDICTION)


def _by_language(path: Path, task: Task, languages: Sequence[str], names: Sequence[str]) -> dict[str, Given]:
    """Read what `read_given` describes from the first column that has one of these `names`."""
    by_language: dict[str, Given] = {}
    files = _files(path, task, languages)
    for each in files:
        for language, given in _of_file(each, path, task, languages, names, len(files) == 1):
            if language in by_language:
                raise DataError(
                    f"{given.where}: another file also has predictions for {language!r}: {by_language[language].where}"
                )
            by_language[language] = given
    lacking = [language for language in languages if language not in by_language]
    if lacking or not by_language:
        raise DataError(
            f"{path}: no predictions for {', '.join(lacking) or 'any language of the task'}; give the language"
            f" in the file's name, as in test-{task.training_language}.tsv, or in a column {LANGUAGE[0]}"
        )
    return {language: by_language[language] for language in task.languages if language in by_language}


def read_key(path: Path, task: Task, given: Mapping[str, Given]) -> dict[str, Rows]:
    """Read files that hold the right answers in the form of predictions, as rows without texts.

    A file may hold both; the right answers are then in its column `label`.
    """
    keys = _by_language(path, task, list(given), RIGHT_ANSWER)
    return {
        language: _rows_of_key(task, language, key.in_own_order(), given[language]) for language, key in keys.items()
    }


def _rows_of_key(task: Task, language: str, key: Given, given: Given) -> Rows:
    """Return the rows of a key. If the key names them, predictions that name theirs are matched by these ids."""
    if not key.answers:
        raise DataError(f"{key.where}: wanted the right answers, found none")
    table = Table(language, task.splits.test, key.where, {KEY: key.answers}, {})
    rows = task.of_kind.rows_of_key(table, given)
    if key.ids is None or rows.ids is not None:
        return rows
    repeated = next((each for each, n in Counter(key.ids).items() if n > 1), None)
    if repeated is not None and given.ids is not None:
        raise DataError(f"{key.where}: id {one_line(repr(repeated))[:80]} occurs twice; wanted each once")
    return replace(rows, ids=key.ids)


def _files(path: Path, task: Task, languages: Sequence[str]) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: wanted a file of predictions or a folder of them, found none")
    inside = next((folder for folder in _of_suite(path, task)), path)
    files = [each for each in visible(inside, "**/*") if each.suffix in SUFFIXES and each.is_file()]
    if not languages and (other := next(_overlooked(inside, files), None)) is not None:
        raise DataError(
            f"{other}: would be ignored because of its extension; unpack it, or write the extension in lower case"
        )
    if not files:
        raise DataError(f"{inside}: wanted files of predictions ({', '.join(SUFFIXES)}), found none")
    return files


def _overlooked(folder: Path, files: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that would be read if they were unpacked, or had their extension in lower case."""
    for each in visible(folder, "**/*"):
        inner = each.with_suffix("") if each.suffix.lower() in _PACKED else each.with_suffix(each.suffix.lower())
        if inner != each and inner.suffix in SUFFIXES and inner not in files:
            yield each


def _of_suite(path: Path, task: Task) -> Iterator[Path]:
    """Yield the folders of this task in a submission for several tasks: named after it, or as a suite names them."""
    members = (member for suite in all_suites().values() for member in suite.tasks if member.task == task.name)
    names = {task.name, *(name for member in members for name in member.folders)}
    return (folder for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name in names)


def _of_file(
    path: Path, root: Path, task: Task, languages: Sequence[str], names: Sequence[str], is_only: bool
) -> Iterator[tuple[str, Given]]:
    columns = _named_columns(path, names)
    if columns is not None and (of_row := _first(columns, LANGUAGE)) is not None:
        _check_name(path, root, task, of_row)
        for language in dict.fromkeys(of_row):
            if language in (languages or task.languages):
                places = [place for place, each in enumerate(of_row) if each == language]
                yield str(language), _from_columns(columns, path, str(language), names).take(places)
            elif language not in task.languages:
                raise DataError(f"{path}: language {one_line(repr(language))[:40]} is not one of task {task.name}'s")
        return
    language = _language_of(path, root, task.languages, languages, is_only)
    if language is None:
        return
    if columns is not None:
        yield language, _from_columns(columns, path, language, names)
    elif path.suffix == ".json":
        yield language, _from_json(path, task, language)
    else:
        answers = task.of_kind.answers_in(str(path), tables.read_text(path))
        yield language, Given(_where(path, language), answers)


def _check_name(path: Path, root: Path, task: Task, of_row: Sequence[Any]) -> None:
    """Raise DataError for a file whose column gives one language and whose name gives another."""
    codes = set(of_row)
    if len(codes) != 1 or not codes <= set(task.languages):
        return
    try:
        named = _language_of(path, root, task.languages, [])
    except DataError:  # the name gives no language, or several
        return
    if named not in codes:
        raise DataError(f"{path}: its name says {named}, but its column {LANGUAGE[0]} says {codes.pop()}")


def _where(path: Path, language: str) -> str:
    return f"{path}: predictions for {language!r}"


def _language_of(
    path: Path, root: Path, known: Collection[str], asked: Sequence[str], is_only: bool = False
) -> str | None:
    """Return the language that the name of the file, or of its folder, gives; None for one that was not asked for.

    A file without a language in its name that `is_only` one has the only language that was asked for.
    """
    parts = path.relative_to(root).parts if path != root else (path.name,)
    for part in reversed(parts):
        named = _codes_in(part, known)
        if len(named) > 1:
            raise DataError(f"{path}: its name contains {' and '.join(named)}; wanted one language in it")
        if named:
            return named[0] if not asked or named[0] in asked else None
    if is_only and len(asked) == 1:
        return asked[0]
    advice = "give the only one with --language" if is_only else f"wanted one in it, as in test-{min(known)}.tsv"
    raise DataError(f"{path}: its name contains no language of the task; {advice}")


def _codes_in(name: str, known: Collection[str]) -> list[str]:
    """Return the `known` codes that are words of `name`, each once. Of `test-zh-Hant`, that is not `zh`."""
    codes = sorted(known, key=len, reverse=True)  # where several codes begin at one place, the longest is meant
    forms = "|".join(f"({re.sub('[_-]', '[^A-Za-z0-9]+', code)})" for code in codes)
    found = re.finditer(rf"(?<![A-Za-z0-9])(?:{forms})(?![A-Za-z0-9])", name)
    return list(dict.fromkeys(codes[(match.lastindex or 0) - 1] for match in found))


# ── the content of a file ──


def _named_columns(path: Path, names: Sequence[str]) -> dict[str, list[Any]] | None:
    """Return the columns whose names are known; None for a file without named columns.

    Raises DataError if no column has one of `names`, which answers go by.
    """
    _check_is_text(path)
    of_file = Wanted if names[0] == GOLD else _OfPredictions
    wanted = of_file((), _KNOWN, MOST_ROWS, (GOLD, *_UNNAMED))
    if path.suffix == ".parquet":
        columns = tables.read_parquet([path], wanted)
    elif path.suffix == ".jsonl":
        columns = tables.read_json_lines(path, wanted)
    elif path.suffix != ".json" and (delimiter := _delimiter(path)):
        columns = tables.read_delimited(path, wanted, delimiter)
    else:
        return None
    if _first(columns.values, (*names, *LOGITS)) is None:
        raise DataError(f"{path}: no column {names[0]!r} or {LOGITS[0]!r}; wanted one of the two")
    _check_index(path, columns.values)
    return {name: _with_names(columns, name) for name in columns.values}


def _check_index(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Raise DataError if nothing names the rows but the index of a frame, and that shows another order."""
    index = _first(columns, _UNNAMED)
    if index is None or _first(columns, (*ID, *NUMBER)) is not None:
        return
    numbers = [int(each) for each in index if is_whole_number(str(each))]
    if numbers != sorted(numbers) and sorted(numbers) == list(range(len(index))):
        raise DataError(
            f"{path}: its first column has no name, but numbers the rows in another order than they have; call it"
            f" {NUMBER[0]!r} if it counts the rows of the data, or else remove it"
        )


def _check_is_text(path: Path) -> None:
    """Raise DataError for compressed files, and for text in an encoding that would be read as something else."""
    if path.suffix == ".parquet":
        return
    with path.open("rb") as file:
        start = file.read(6)
    if start == _NUMPY or (path.suffix == ".npz" and start.startswith(_ZIP)):
        raise DataError(f"{path}: arrays of NumPy; write them as .jsonl or .parquet, with a column {LOGITS[0]!r}")
    packed = next((name for mark, name in _COMPRESSED.items() if start.startswith(mark)), None)
    if packed is not None:
        raise DataError(f"{path}: compressed with {packed}; unpack it")
    before, zero, _ = tables.read_text(path).partition("\0")
    if zero:
        encoding = "; it looks like UTF-16 without a byte order mark" if start[1:2] == b"\0" != start[:1] else ""
        raise DataError(f"{path}: line {before.count(chr(10)) + 1:,} has a NUL byte{encoding}; save it as UTF-8")


_NUMPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    _ZIP: "zip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def _delimiter(path: Path) -> str | None:
    """Return the delimiter of a file whose first line names its columns; None if it does not."""
    first = tables.read_text(path).partition("\n")[0]
    for delimiter in tables.DELIMITERS:
        names = tables.names_in(first, delimiter)
        if set(names) & {*PREDICTION, *LOGITS} and (len(names) > 1 or path.suffix == ".csv" or names[0] != "label"):
            return delimiter
    if path.suffix == ".csv":
        raise DataError(f"{path}: no column {PREDICTION[0]!r} in its first line, {one_line(first)[:80]!r}")
    return None


def _with_names(columns: Columns, name: str) -> list[Any]:
    """Return the values of a column, with names in place of numbers if the file has names."""
    values, names = columns.values[name], columns.value_names.get(name)
    if names is None:
        return values
    return [_named(value, names) for value in values]


def _named(value: Any, names: Sequence[str]) -> Any:
    """Return the name that a number stands for; for a list, as of a sentence's tags, those of its numbers."""
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _first(columns: Mapping[str, list[Any]], names: Sequence[str]) -> list[Any] | None:
    return next((columns[name] for name in names if name in columns), None)


def _from_columns(columns: Mapping[str, list[Any]], path: Path, language: str, names: Sequence[str]) -> Given:
    where = _where(path, language)
    ids, numbers, logits = (_first(columns, known) for known in (ID, NUMBER, LOGITS))
    for known in (ID, NUMBER):
        own = [name for name in known if name in columns]
        if differing := [name for name in own if columns[name] != columns[own[0]]]:
            raise DataError(
                f"{where}: columns {own[0]} and {differing[0]} differ; leave out the one that does not name the rows"
            )
    if ids is not None and any(each in (None, "") for each in ids):
        raise DataError(f"{where}: a row has no id; wanted one for each, or no ids at all")
    column = next((name for name in names if name in columns), names[0])
    return Given(
        where,
        columns.get(column, []),
        [str(each) for each in ids] if ids is not None else None,
        [_whole(each, where) for each in numbers] if numbers is not None else None,
        _array(logits, where) if logits is not None else None,
        column,
    )


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not is_whole_number(str(value)):
        raise DataError(f"{where}: row number {one_line(repr(value))[:40]}; wanted whole numbers from 0")
    return int(value)


def _array(logits: list[Any], where: str) -> np.ndarray:
    """Return the logits as (M, C) float32."""
    try:
        values = [json.loads(each) if isinstance(each, str) else each for each in logits]
        array = np.array(values, dtype=np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{where}: wanted logits as lists of numbers, all of one length: {one_line(error)[:80]}"
        ) from error
    if array.ndim != 2 or not np.isfinite(array).all():
        raise DataError(f"{where}: wanted logits as a list of finite numbers for each row")
    return array


def _from_json(path: Path, task: Task, language: str) -> Given:
    """Read answers by id, or a key in the form of the task's own files."""
    text, where = tables.read_text(path), _where(path, language)
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {one_line(error)[:120]}") from error
    if not isinstance(content, dict):
        raise DataError(f'{where}: wanted answers by id, {{"id": "answer"}}, got {one_line(repr(content))[:60]}')
    if isinstance(content.get("data"), list):
        return Given(where, task.of_kind.answers_in(str(path), text))
    return Given(where, list(content.values()), list(content))
