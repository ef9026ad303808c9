"""Files of rows → columns: Parquet, CSV, TSV and JSON Lines, none of them trusted.

Columns are lists of Python values as the file has them: texts, numbers, lists of either, or dicts of these. Only the
wanted columns are read. The size that a file states is checked before it is unpacked, since a few kilobytes can stand
for terabytes of rows.
"""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xeval.support.errors import CopyError, DataError
from xeval.support.files import check_ordinary, read_ordinary
from xeval.support.json_text import parse_json
from xeval.support.memory_limit import at_most
from xeval.support.text import counted, is_unicode, one_line

MAX_FILE_BYTES = 4_000_000_000
MAX_TEXT_FILE_BYTES = 1_000_000_000  # reading it takes several times as much memory
MAX_TEXT_BYTES = 100_000
MAX_VALUES = 100_000_000  # in a column of lists
SPARE_BYTES = 1_000_000_000  # memory that reading Parquet may take beyond what the file states
_BYTES_PER_VALUE = 64
DELIMITERS = ("\t", ",", ";")  # Excel writes semicolons where the comma is the decimal sign


@dataclass(frozen=True)
class Wanted:
    """The columns to read from a file, and how many rows it may have."""

    texts: tuple[str, ...]  # columns that must be there
    gold: tuple[str, ...]  # columns that may be absent
    most_rows: int
    ids: tuple[str, ...] = ()  # columns that may name rows, in files whose columns have names

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.texts, *self.gold)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns to read from a file whose columns have names."""
        return tuple(dict.fromkeys((*self.columns, *self.ids)))

    def refuse_lacking(self, path: Path, names: Sequence[str]) -> None:
        """Raise DataError for a column that is not there, or whose name is spelt otherwise and would be overlooked."""
        lacking = [name for name in self.columns if name not in names]
        others = {_folded(name): name for name in names if name not in self.named}
        if like := next((name for name in lacking if _folded(name) in others), None):
            other = one_line(repr(others[_folded(like)]))[:80]
            raise DataError(f"{path}: no column {like!r}, but one that is called {other}; rename it to {like!r}")
        if lacking := [name for name in lacking if name in self.texts]:
            raise DataError(f"{path}: no column {lacking[0]!r}; it has {one_line(', '.join(names))[:200]}")


def _folded(name: str) -> str:
    return name.strip().casefold()


@dataclass(frozen=True)
class Columns:
    """The wanted columns that a file has, and the names that the numbers in them stand for, if it gives any."""

    values: dict[str, list[Any]]
    value_names: dict[str, list[str]]


def joined(paths: Sequence[Path], parts: Sequence[Columns]) -> Columns:
    """Return the rows of `parts`, read from `paths`, one after the other. Raises DataError if their columns differ."""
    names = list(parts[0].values)
    for path, part in zip(paths, parts, strict=True):
        if part.values.keys() != parts[0].values.keys():
            raise DataError(
                f"{path}: wanted columns {', '.join(names)} as in {paths[0].name}, got {', '.join(part.values)}"
            )
    return Columns({name: [value for part in parts for value in part.values[name]] for name in names}, {})


# ── Parquet ──


def read_parquet(paths: Sequence[Path], wanted: Wanted) -> Columns:
    """Read the rows of several files, one after the other."""
    try:
        table = pa.concat_tables([_parquet_table(path, wanted) for path in paths])
        value_names = [_value_names(pq.read_schema(path), wanted.named) for path in paths]
        values = {name: _values(table[name], paths[0], name) for name in table.column_names}
    except DataError:
        raise
    except Exception as error:  # a damaged file surfaces in dozens of ways
        raise CopyError(f"{paths[0]}: not readable as parquet ({one_line(error)[:120]})") from error
    for path, names in zip(paths, value_names, strict=True):
        if names != value_names[0]:
            raise CopyError(f"{path}: its schema gives label numbers other names than {paths[0].name} does")
    return Columns(values, value_names[0])


def _value_names(schema: pa.Schema, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the names that the numbers in `columns`, or in lists there, stand for, from the metadata of `datasets`.

    `Features.from_arrow_schema` omits them if the numbers are stored in another type than one of 64 bits.
    """
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = datasets.Features.from_dict((metadata.get("info") or {}).get("features") or {})
    named = {name: getattr(features.get(name), "feature", features.get(name)) for name in columns}
    return {name: of.names for name, of in named.items() if isinstance(of, datasets.ClassLabel) and of.names}


def _parquet_table(path: Path, wanted: Wanted) -> pa.Table:
    """Read the wanted columns of `path`, with every text in memory once, however often it is repeated."""
    try:
        check_ordinary(path, MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    schema, metadata = pq.read_schema(path), pq.read_metadata(path)
    wanted.refuse_lacking(path, schema.names)
    if metadata.num_rows > wanted.most_rows:
        raise DataError(
            f"{path}: {metadata.num_rows:,} rows, more than ten times what the task file says; correct one of the two"
        )
    columns = [name for name in wanted.named if name in schema.names]
    unpacked = _unpacked_bytes(metadata, columns)
    if unpacked > MAX_FILE_BYTES:
        raise DataError(f"{path}: unpacks to {unpacked:,} bytes; wanted at most {MAX_FILE_BYTES:,}")
    values = _most_values(metadata, columns)
    if values > MAX_VALUES:
        raise DataError(f"{path}: a column has {values:,} values; wanted at most {MAX_VALUES:,}")
    texts = _text_paths(metadata, schema, columns)
    # A file can unpack to more than the size that it states.
    with at_most(SPARE_BYTES + 4 * unpacked + _BYTES_PER_VALUE * values * len(columns)):
        return pq.read_table(path, columns=columns, read_dictionary=texts)


def _chunks(metadata: pq.FileMetaData, columns: Sequence[str]) -> Iterator[pq.ColumnChunkMetaData]:
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema.partition(".")[0] in columns:
                yield chunk


def _unpacked_bytes(metadata: pq.FileMetaData, columns: Sequence[str]) -> int:
    """Return how many bytes `columns` take when they are read, according to the file."""
    return sum(chunk.total_uncompressed_size for chunk in _chunks(metadata, columns))


def _most_values(metadata: pq.FileMetaData, columns: Sequence[str]) -> int:
    """Return the most values that one of the `columns` has, according to the file; those in lists count one by one."""
    totals = Counter[str]()
    for chunk in _chunks(metadata, columns):
        totals[chunk.path_in_schema] += chunk.num_values
    return max(totals.values(), default=0)


def _text_paths(metadata: pq.FileMetaData, schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """Return the paths of the texts in these columns: a column's name, or the paths inside its lists and structs."""
    paths = []
    for path in (metadata.schema.column(place).path for place in range(metadata.num_columns)):
        name = next((name for name in columns if path == name or path.startswith(f"{name}.")), None)
        if name is None:
            continue
        kind = schema.field(name).type
        if pa.types.is_struct(kind):
            kind = kind.field(path.removeprefix(f"{name}.").partition(".")[0]).type
        if any(is_one(_held(kind)) for is_one in _IS_TEXT):
            paths.append(path)
    return paths


_IS_TEXT = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
)


def _held(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values in lists of this type; for any other type, the type itself."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else kind


def _values(column: pa.ChunkedArray, path: Path, name: str) -> list[Any]:
    """Return the values of a column as Python values, after checking how large they will be."""
    if pa.types.is_struct(column.type) and "." not in name:  # a struct in a struct is refused
        fields = [column.type.field(place).name for place in range(column.type.num_fields)]
        parts = [_values(part, path, f"{name}.{each}") for each, part in zip(fields, column.flatten(), strict=True)]
        return [dict(zip(fields, of_row, strict=True)) for of_row in zip(*parts, strict=True)]
    kind = _held(column.type)
    if pa.types.is_nested(kind):
        raise DataError(f"{path}: column {name!r} holds {one_line(column.type)[:80]}; wanted text, or lists of it")
    if pa.types.is_dictionary(kind):
        _refuse_huge([chunk if kind == column.type else chunk.flatten() for chunk in column.chunks], path, name)
        column = column.cast(pa.list_(kind.value_type) if kind != column.type else kind.value_type)
    values: list[Any] = column.to_pylist()
    return values


def _refuse_huge(chunks: Sequence[pa.DictionaryArray], path: Path, name: str) -> None:
    total = 0
    for chunk in chunks:
        lengths = pc.fill_null(pc.binary_length(chunk.dictionary), 0)
        _refuse_long(pc.max(lengths).as_py() or 0, path, name)
        total += pc.sum(lengths.cast(pa.int64()).take(chunk.indices)).as_py() or 0
    if total > MAX_FILE_BYTES:
        raise DataError(f"{path}: column {name!r} unpacks to {total:,} bytes; wanted at most {MAX_FILE_BYTES:,}")


def _refuse_long(n_bytes: int, path: Path, name: str) -> None:
    if n_bytes > MAX_TEXT_BYTES:
        raise DataError(f"{path}: column {name!r} has a text of {n_bytes:,} bytes; wanted {MAX_TEXT_BYTES:,} at most")


# ── objects ──

TableLike: TypeAlias = datasets.Dataset | pd.DataFrame | pa.Table


def table_of(rows: object) -> pa.Table:
    """Return the rows of a `datasets` data set, a pandas frame or an Arrow table.

    Raises DataError for anything else, and for a frame with columns that Arrow cannot hold.
    """
    if isinstance(rows, datasets.Dataset):
        table: pa.Table = rows.with_format("arrow")[:]
        return table.replace_schema_metadata(rows.features.arrow_schema.metadata)  # with the names of labels
    if isinstance(rows, pa.Table):
        return rows
    if not isinstance(rows, pd.DataFrame):
        raise DataError(f"data: wanted a datasets.Dataset or a pandas frame, got {type(rows).__name__}")
    try:
        return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"data: a frame has columns that cannot be written: {one_line(error)[:200]}") from error


# ── text ──


def read_delimited(path: Path, wanted: Wanted, delimiter: str | None = None) -> Columns:
    """Read a CSV or TSV file whose first line names its columns."""
    text = _text(path)
    lines = lines_of(path, text, delimiter or _delimiter(path, text, wanted), other_length)
    header = lines[0] if lines else []
    wanted.refuse_lacking(path, header)
    twice = next((name for name in wanted.named if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: column {twice!r} occurs {header.count(twice)} times; keep only one")
    places = {name: header.index(name) for name in wanted.named if name in header}
    return Columns({name: [line[place] for line in lines[1:]] for name, place in places.items()}, {})


def _delimiter(path: Path, text: str, wanted: Wanted) -> str:
    """Return what separates the columns: a tab or a comma by the file's suffix, unless the first line shows another."""
    usual, first = "\t" if path.suffix == ".tsv" else ",", re.split(r"[\r\n]", text, maxsplit=1)[0]
    fitting = (each for each in (usual, *DELIMITERS) if {*wanted.texts} <= {*names_in(first, each)})
    return next(fitting, usual)


def names_in(first_line: str, delimiter: str) -> list[str]:
    """Return the names of columns in the first line of a file, without spaces and quotation marks around them."""
    return [name.strip().strip('"') for name in first_line.split(delimiter)]


def read_headless(path: Path, wanted: Wanted) -> Columns:
    """Read a TSV file whose columns are the wanted ones, in their order; the gold ones may be left out."""

    def problem(fields: Sequence[str], _: Sequence[str]) -> str:
        fits = len(fields) in (len(wanted.texts), len(wanted.columns))
        return "" if fits else f"{counted(len(fields), 'fields')}; wanted {', '.join(wanted.columns)}"

    lines = lines_of(path, _text(path), "\t", problem)
    return Columns(
        {name: [line[i] if i < len(line) else None for line in lines] for i, name in enumerate(wanted.columns)}, {}
    )


def other_length(fields: Sequence[str], header: Sequence[str]) -> str:
    """Return what is wrong with a line that has more or fewer fields than the first line names; "" if nothing is."""
    return "" if len(fields) == len(header) else f"{counted(len(fields), 'fields')}; its first line names {len(header)}"


Problem = Callable[[Sequence[str], Sequence[str]], str]  # what is wrong with a line's fields, given the first line's


def lines_of(path: Path, text: str, delimiter: str, problem: Problem, may_be_quoted: bool = True) -> list[list[str]]:
    """Return the fields of each line of `text`, a delimited file, as its writer meant them, without blank lines.

    Writers such as csv and pandas put quotation marks around a field, which may then contain the delimiter and line
    breaks, and double the marks inside it. Others write a quotation mark like any other character. The file itself
    shows which: it is quoted if every mark fits the first way, and plain if each line has all its fields without that.
    """
    plain = _rows(path, text, delimiter, csv.QUOTE_NONE)
    if '"' not in text or not may_be_quoted:
        return _without_problems(path, plain, problem)
    has_whole_lines = not any(problem(fields, plain[0][1]) for _, fields in plain)
    if has_whole_lines and not _is_quoted(text, delimiter):
        return [fields for _, fields in plain]
    try:
        quoted = _without_problems(path, _rows(path, text, delimiter, csv.QUOTE_MINIMAL), problem)
    except CopyError:
        if not has_whole_lines:
            raise
        quoted = []
    # Two marks of two fields, such as the first and the last of a speech, would swallow what is between them.
    return [fields for _, fields in plain] if has_whole_lines and len(quoted) != len(plain) else quoted


def _without_problems(path: Path, lines: Sequence[tuple[int, list[str]]], problem: Problem) -> list[list[str]]:
    for number, fields in lines:
        if fault := problem(fields, lines[0][1]):
            raise CopyError(f"{path}: line {number:,} has {fault}")
    return [fields for _, fields in lines]


def _rows(path: Path, text: str, delimiter: str, quoting: Literal[0, 3]) -> list[tuple[int, list[str]]]:
    """Return the fields of each row, with the number of the line that they end on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for fields in reader:
            rows.append((reader.line_num, fields))
    except csv.Error as error:
        line = rows[-1][0] + 1 if rows else 1
        mark = "an unclosed quotation mark, or text next to one: " if quoting == csv.QUOTE_MINIMAL else ""
        raise CopyError(f"{path}: cannot be read as a table from line {line:,}: {mark}{one_line(error)}") from error
    return [row for row in rows if row[1]]


def _is_quoted(text: str, delimiter: str) -> bool:
    """Return whether each quotation mark belongs to a quoted field, and some field needs it or all texts have it."""
    field = re.compile(rf'(?<![^{delimiter}\r\n])"((?:[^"]++|"")*+)"(?![^{delimiter}\r\n])')
    rest = field.sub("", text)
    if '"' in rest:
        return False
    if any(re.search(r'[",;\t\r\n]', match[1]) for match in field.finditer(text)):
        return True
    return not any(character.isalpha() for character in rest)


def _text(path: Path) -> str:
    """Read a file in UTF-8, or in UTF-16 if its first bytes say so."""
    try:
        content = read_ordinary(path, MAX_TEXT_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    encoding = "UTF-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "UTF-8"
    try:
        return content.decode("utf-8-sig" if encoding == "UTF-8" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line:,} is not {encoding} (byte {error.start:,} of the file); save it as UTF-8"
        ) from error


def read_text(path: Path) -> str:
    """Read the whole text of a file that is not a table, with all line ends as line feeds."""
    return _text(path).replace("\r\n", "\n").replace("\r", "\n")


def read_json_lines(path: Path, wanted: Wanted) -> Columns:
    """Read a file with a JSON object on each line, without its blank lines."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            rows.append(_json_row(line, path, number, wanted, not rows))
    names = [name for name in wanted.named if name in wanted.texts or any(name in row for row in rows)]
    return Columns({name: [row.get(name) for row in rows] for name in names}, {})


def _json_row(line: str, path: Path, number: int, wanted: Wanted, is_first: bool) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number} is not readable as JSON: {one_line(error)[:120]}") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} has {one_line(repr(row))[:80]}; wanted an object with a key per column")
    if is_first:
        wanted.refuse_lacking(path, list(row))
    for name in wanted.named:
        if isinstance(row.get(name), str):
            _refuse_long(len(row[name].encode(errors="replace")), path, name)
            if not is_unicode(row[name]):
                raise DataError(
                    f"{path}: line {number} has an unpaired UTF-16 surrogate in {name!r}; write the whole pair"
                )
    return {name: row[name] for name in wanted.named if name in row}
