"""Writes runs to a results folder, as `xeval run` leaves them, without running anything."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.helpers.predictions import answers_of, save_predictions
from tests.helpers.sample_record import SHA, files_of, run_record, score
from xeval.results import store
from xeval.results.candidates import GatheredPredictions
from xeval.results.identity import identity, ingredients_of
from xeval.results.records import RunRecord
from xeval.support.sealed import sealing

LABELS = np.arange(300) % 3


def logits_of(seed: int, number: int) -> np.ndarray:
    """(300, 3) logits, determined by `seed` and `number`."""
    return np.random.default_rng((seed, number)).normal(size=(300, 3)).astype(np.float32)


def add_language(folder: Path, record: RunRecord, language: str, logits: np.ndarray) -> RunRecord:
    """Add a finished language, as a run commits it."""
    sha256 = save_predictions(folder, language, logits, LABELS)
    cell = score(0.5).model_copy(update={"predictions_sha256": sha256})
    tests = record.data.sha256["test"] | {language: SHA}
    data = record.data.model_copy(update={"sha256": record.data.sha256 | {"test": tests}})
    record = record.model_copy(update={"scores": record.scores | {language: cell}, "data": data})
    store.save_record(folder, record)
    return record


def a_run(results: Path, *languages: str, weights: str = SHA, seed: int = 3, at: str | None = None, **changes) -> Path:
    """The folder of a run whose record has the right identity; `at` puts it elsewhere below `results`."""
    record = run_record(seed=seed, scores={}, **changes)
    if record.training is not None:
        record = record.model_copy(update={"training": record.training.model_copy(update={"weights_sha256": weights})})
    record = record.model_copy(update={"identity": identity(ingredients_of(record), seed)})
    folder = store.run_folder(results, record.task, record.model.id, record.recipe.name, seed, record.identity)
    folder = folder if at is None else results / at
    for language in languages:
        record = add_language(folder, record, language, logits_of(seed, sum(language.encode())))
    store.save_record(folder, record)
    return folder


def write_as_other_pyarrow(folder: Path) -> None:
    """Write the predictions in `folder` as another version of pyarrow might: the same tables in other bytes."""
    record, scores = store.load_record(folder), {}
    for language, own in record.scores.items():
        path = folder / "predictions" / f"{language}.parquet"
        pq.write_table(pq.read_table(path), path, compression="snappy")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert sha256 != own.predictions_sha256
        scores[language] = own.model_copy(update={"predictions_sha256": sha256})
    store.save_record(folder, record.model_copy(update={"scores": scores}))


def evaluate_checkpoints(folder: Path, *languages: str) -> None:
    """Give the run in `folder` two checkpoints, evaluated in `languages`."""
    record, gathered = store.load_record(folder), GatheredPredictions(folder.parent / "gathered")
    for step in (2, 4):
        gathered.start(step, files_of(f"step {step}"))
        for number, language in enumerate(languages):
            logits = logits_of(step, number)
            tally = np.stack([logits.argmax(axis=1) == LABELS, np.ones(len(LABELS))], axis=1)
            gathered.add(step, language, answers_of(logits, LABELS), tally, np.arange(len(LABELS)), 0.5, SHA)
    gathered.seal([2, 4], languages, record.training.weights_sha256, folder)
    gathered.clear()


def keep_weights(folder: Path, content: bytes = b"weights") -> str:
    """Give the run in `folder` weights with this `content`; return its SHA-256."""
    with sealing(store.own_weights(folder)) as partial:
        (partial / "model.safetensors").write_bytes(content)
        (partial / "tokenizer.json").write_text("{}")
    return hashlib.sha256(content).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file by its path below `folder`, except locks."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
