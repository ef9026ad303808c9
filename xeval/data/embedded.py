"""The small corpora, the encoder and its student that the package contains, so that a first run needs no network."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from xeval.definitions.model_name import EMBEDDED_MODELS
from xeval.definitions.task import Task
from xeval.support.cache import cache_home, own_home
from xeval.support.errors import DataError, StoreError
from xeval.support.locks import locked
from xeval.support.sealed import checksums, sealing

_MICROCOSM = Path(__file__).resolve().parent / "microcosm"
MODELS = {name: _MICROCOSM / "models" / name for name in EMBEDDED_MODELS}


def corpus_folder(task: Task) -> Path:
    """Return the folder of the embedded corpus in the hub's layout, generated into the cache the first time (seconds).

    If the cache cannot be written, the corpus is generated for this process alone.
    """
    writers = _writers(task.training_language)
    if task.name not in writers:
        raise DataError(
            f"task {task.name} says that it is embedded, but only {', '.join(writers)} are; give it a [hub] or use"
            " --data"
        )
    _refuse_unknown_languages(task)
    folder = cache_home() / "corpora" / f"{task.name}-{_hash_of_sources(task)[:16]}"
    write = writers[task.name]
    try:
        return _kept(folder, lambda unfinished: write(unfinished, task.languages))
    except (OSError, StoreError):
        return _kept(own_home() / folder.name, lambda unfinished: write(unfinished, task.languages))


def _refuse_unknown_languages(task: Task) -> None:
    from xeval.data.microcosm.lexicon import ALL

    unknown = [language for language in (*task.languages, task.training_language) if language not in ALL]
    if unknown:
        raise DataError(
            f"task {task.name}: the embedded corpora have {', '.join(ALL)}, not {unknown[0]}; remove it from the task"
            " file, or use --data"
        )


def _kept(folder: Path, write: Callable[[Path], None]) -> Path:
    with locked(folder.parent):
        if checksums(folder) is None:  # not made yet, or damaged
            with sealing(folder) as unfinished:
                write(unfinished)
    return folder


def _writers(training_language: str) -> dict[str, Callable[[Path, Sequence[str]], None]]:
    """Return, by task, the function that writes its corpus into a folder."""
    from xeval.data.microcosm import corpus, parallel, questions, tagged

    return {
        "xnli-mini": partial(corpus.write_corpus, training_language=training_language),
        "answers-mini": questions.write_corpus,
        "retrieval-mini": parallel.write_corpus,
        **{name: partial(tagged.write_corpus, name) for name in ("tags-mini", "pos-mini")},
    }


def _hash_of_sources(task: Task) -> str:
    """Hash everything that the corpus of `task` is generated from: its languages, and the code and word lists, so that
    a changed one never leaves a stale corpus."""
    digest = hashlib.sha256(f"{' '.join(task.languages)}:{task.training_language}:".encode())
    for path in sorted(
        [*_MICROCOSM.glob("*.py"), *_MICROCOSM.glob("*.toml"), *(_MICROCOSM / "languages").glob("*.toml")]
    ):
        digest.update(f"{path.name}:".encode() + path.read_bytes())
    return digest.hexdigest()
