"""Runs on disk whose answers are known, for tests that compare them without a model."""

from pathlib import Path

import numpy as np

from tests.helpers.predictions import save_old_predictions, save_predictions
from tests.helpers.sample_record import SHA, files_of, run_record, score
from xeval.judging.comparison.resampling import N_RESAMPLES, SEED, Interval, PairedRows, paired_mean_difference
from xeval.results.records import DataRecord, Limits, ModelRecord, RecipeRecord
from xeval.results.store import StoredRun, save_record

N_LABELS = 3


def write_run(  # noqa: PLR0913  each test names only those that matter to it
    results: Path,
    answers: dict[str, np.ndarray],  # language → (N,) predicted labels
    labels: np.ndarray,  # (N,) gold, the same in every language
    groups: np.ndarray | None = None,  # (N,) premises; None: as in files from before they were kept
    seed: int = 1,
    model: str = "org/m",
    learning_rate: float = 5e-5,
    rows_sha256: str = SHA,
    **changes,
) -> StoredRun:
    """Write the run to results/cats/<model>/…, where a real one would be."""
    folder = results / "cats" / model.replace("/", "--") / f"r-seed{seed}-{learning_rate:g}"
    scores = {}
    for language, predicted in answers.items():
        logits = np.eye(N_LABELS, dtype=np.float32)[predicted]
        if groups is None:
            sha256 = save_old_predictions(folder, language, logits, labels)
        else:
            sha256 = save_predictions(folder, language, logits, labels, groups)
        accuracy = float(np.mean(predicted == labels))
        scores[language] = score(accuracy, len(labels)).model_copy(update={"predictions_sha256": sha256})
    record = run_record(
        model=ModelRecord(
            id=model, origin="hub", revision=None, sha256=files_of(model), n_parameters=1, architecture="bert"
        ),
        recipe=RecipeRecord(name="r", values={"learning_rate": learning_rate}, overrides={}),
        data=DataRecord(source="x", revision=None, sha256={"test": dict.fromkeys(answers, rows_sha256)}, train_rows={}),
        limits=Limits(),
        seed=seed,
        scores=scores,
        **changes,
    )
    save_record(folder, record)
    return StoredRun(folder, record)


def answers_with(labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) predictions that are right where (N,) `right` says so."""
    return np.where(right, labels, (labels + 1) % N_LABELS)


def paired_difference(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    groups: np.ndarray,
    seed: int = SEED,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Return the difference of one language whose (N,) rows are right or not, or right for a share of seeds."""
    rows = PairedRows(correct_a, correct_b, groups, np.zeros(len(groups)))
    return paired_mean_difference([rows], seed, n_resamples)
