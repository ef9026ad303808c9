"""Models and rows in a program's memory, copied once into the cache, as the folders that all other code works with.

A copy is stored under the checksum of its contents. Therefore a changed object counts as another model or other rows,
and an unchanged one as the same, in every program.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xeval.data.tables import TableLike, table_of
from xeval.definitions.languages import code_among, names_of
from xeval.definitions.task import DEV, Task
from xeval.engine.loading import save_given
from xeval.support.cache import cache_home, forget_unused, own_home
from xeval.support.errors import DataError, ModelError, StoreError, UnknownNameError
from xeval.support.files import in_home, safe_name
from xeval.support.locks import locked
from xeval.support.progress import Reporter
from xeval.support.sealed import MANIFEST, checksums, manifest_of, sealing
from xeval.support.text import one_line

Name: TypeAlias = str | os.PathLike[str]
ModelAndTokenizer: TypeAlias = tuple[PreTrainedModel, PreTrainedTokenizerBase]
Models: TypeAlias = (
    Name | ModelAndTokenizer | Sequence[Name | ModelAndTokenizer] | Mapping[str, ModelAndTokenizer]
)  # names, objects, or objects by the names to use in records
Tables: TypeAlias = TableLike | Mapping[str, Any]  # a mapping is by language, by split, or by both
LANGUAGE = "language"  # column that names the language of each row
_DIGITS = 16  # of a checksum
_PAIR = "wanted a name, or a transformers model together with its tokenizer, (model, tokenizer)"


# ── models ──


def names_of_models(models: Models, reporter: Reporter) -> list[str]:
    """Return the names of `models`; for objects, the folders of their copies, which are reported.

    Raises ModelError for an object that is not a model with its tokenizer, or that cannot be saved.
    """
    if isinstance(models, str | os.PathLike) or _is_pair(models):
        models = [models]  # type: ignore[list-item]  # one of them
    if not isinstance(models, Iterable):
        raise ModelError(f"models: {_PAIR}, got {_in_words(models)}")
    named: list[tuple[str | None, Any]] = (
        list(models.items()) if isinstance(models, Mapping) else [(None, model) for model in models]
    )
    for name, model in named:
        _check(name, model)
    return [
        os.fspath(model) if isinstance(model, str | os.PathLike) else _copied(model, name, reporter)
        for name, model in named
    ]


def name_of_model(model: str | ModelAndTokenizer, reporter: Reporter) -> str:
    """Return the name of one model, as `names_of_models` does."""
    [name] = names_of_models([model], reporter)
    return name


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and isinstance(value[0], PreTrainedModel)
        and isinstance(value[1], PreTrainedTokenizerBase)
    )


def _check(name: str | None, value: object) -> None:
    if not (_is_pair(value) or (name is None and isinstance(value, str | os.PathLike))):
        raise ModelError(f"models: {_PAIR}, got {_in_words(value)}")
    if name is not None and safe_name(str(name)) != name:
        raise ModelError(f"models: wanted names of letters, digits and ._-, got {one_line(str(name))[:80]!r}")


def _copied(pair: ModelAndTokenizer, name: str | None, reporter: Reporter) -> str:
    model, tokenizer = pair
    path = str(getattr(model, "name_or_path", "") or "").rstrip("/")
    from_where = safe_name(path.rsplit("/", 1)[-1]) if path else model.config.model_type
    copy = _kept(
        lambda folder: save_given(model, tokenizer, folder, name or from_where),
        lambda digest: name or f"{from_where}-{digest[:8]}",
        reporter,
    )
    reporter.say(f"{copy.name}: a copy of the model is in {copy}")
    return str(copy)


def _in_words(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"({', '.join(type(part).__name__ for part in value)})"
    name = type(value).__name__
    if name.startswith("Peft"):
        return f"{name}; merge its adapter with merge_and_unload()"
    return f"{name} alone" if isinstance(value, PreTrainedModel | PreTrainedTokenizerBase) else name


# ── rows ──


def folder_of_data(
    data: str | os.PathLike[str] | Tables | None, task_of: Callable[[], Task], reporter: Reporter
) -> str | os.PathLike[str] | None:
    """Return `data` itself if it is a folder or None; for objects, the folder of their copy, which is reported.

    `task_of` returns the task with its training language and its test split.

    For the training language, the rows to train and to select on are copied; for every language, the test rows.
    Raises DataError if `data` has no rows that the task reads, and UnknownNameError for a language that the task lacks.
    """
    if data is None or isinstance(data, str | os.PathLike):
        return in_home(data) if data else None
    task = task_of()
    tables: dict[tuple[str, str], pa.Table] = {}
    for (language, split), rows in _read_by(task, data):
        if (language, split) in tables:
            raise DataError(f"data: the {split} rows of {language!r} occur under two names; give them under one")
        tables[language, split] = rows
    if not tables:
        raise DataError(f"data: wanted rows of {task.name}, got none; it reads the splits {_splits_in_words(task)}")
    copy = _kept(lambda folder: _write(tables, folder, task), lambda digest: f"{task.name}-{digest[:8]}", reporter)
    reporter.say(f"{task.name}: a copy of the rows is in {copy}")
    return copy


def _read_by(task: Task, data: Tables) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """Yield ((language, split), rows) for everything that a run of the task may read."""
    by_key = data if isinstance(data, Mapping) else {task.splits.test: data}
    by_split = any(_split(task, str(key)) for key in by_key)
    for (language, split), rows in (_in_splits if by_split else _in_languages)(task, by_key):
        # A language that is not trained on contributes only its test rows.
        if split == task.splits.test or language == task.training_language:
            yield (language, split), rows


def _in_languages(task: Task, data: Mapping[Any, Tables]) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    for word, tables in data.items():
        language = _code(task, str(word))
        by_name = tables if isinstance(tables, Mapping) else {task.splits.test: tables}
        named = {split: rows for name, rows in by_name.items() if (split := _split(task, str(name)))}
        if not named:
            got = one_line(", ".join(map(str, by_name)))[:80]
            raise DataError(f"data: of {language!r}, wanted the splits {_splits_in_words(task)}, got {got}")
        for split, rows in named.items():
            yield (language, split), table_of(rows)


def _in_splits(task: Task, data: Mapping[Any, Tables]) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    named = {split: rows for name, rows in data.items() if (split := _split(task, str(name)))}
    for split, rows in named.items():
        for language, own in _by_language(task, split, table_of(rows)):
            yield (language, split), own


def _by_language(task: Task, split: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if LANGUAGE not in table.column_names:
        if split == task.splits.test:
            raise DataError(
                f"data: wanted a column {LANGUAGE!r} in the {split} rows, or a mapping of languages to rows, got the"
                f" columns {one_line(', '.join(table.column_names))[:120]}"
            )
        yield task.training_language, table
        return
    for word in pc.unique(table[LANGUAGE]).to_pylist():
        yield _code(task, str(word)), table.filter(pc.equal(table[LANGUAGE], word))


def _code(task: Task, word: str) -> str:
    known = dict.fromkeys([*task.languages, task.training_language])
    code = code_among(known, word)
    if code is None:
        names = {name: code for code, name in names_of(known).items()}
        raise UnknownNameError(f"language of task {task.name} in data", word, known, other_names=names)
    return code


def _split(task: Task, word: str) -> str | None:
    """Return the split of the task that is called `word`, or None."""
    if word in (DEV, "validation", "selection") and task.has_selection:
        return task.splits.selection
    return word if word in _splits(task) else None


def _splits(task: Task) -> list[str]:
    roles = (*task.training_roles, "test") if task.of_kind.trains else ("test",)
    return list(dict.fromkeys(getattr(task.splits, role) for role in roles))


def _splits_in_words(task: Task) -> str:
    return ", ".join(_splits(task))


def _write(tables: Mapping[tuple[str, str], pa.Table], folder: Path, task: Task) -> None:
    for (language, split), table in tables.items():
        path = folder / task.configuration(language) / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)


# ── copies ──


def _kept(write: Callable[[Path], None], called: Callable[[str], str], reporter: Reporter) -> Path:
    """Keep in the cache what `write` puts into a folder, under its checksum, after which `called` names the folder.

    If the cache cannot be written, the folder is kept for this process only.
    """
    try:
        folder = _keep(cache_home() / "objects", write, called, reporter)
    except (OSError, StoreError):
        return _keep(own_home(), write, called, reporter)
    if message := forget_unused("objects"):
        reporter.say(message)
    return folder


def _keep(home: Path, write: Callable[[Path], None], called: Callable[[str], str], reporter: Reporter) -> Path:
    with locked(home, reporter.say):
        new = home / ".new"
        shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
        try:
            new.mkdir()
            write(new)
            digest = hashlib.sha256(manifest_of(new)).hexdigest()[:_DIGITS]
            folder = home / digest / called(digest)
            if checksums(folder) is None:  # not there yet, or damaged
                with sealing(folder) as unfinished:
                    for path in list(new.iterdir()):
                        path.replace(unfinished / path.name)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    (folder / MANIFEST).touch()  # for `forget_unused`
    return folder
