"""Results as a report finds them: two models, three seeds, predictions on disk, a published row. The same each time."""

from pathlib import Path

import numpy as np

from tests.helpers.sample_record import SHA, run_record
from xeval.definitions.registry import all_tasks, get_reference
from xeval.report import matrix
from xeval.results import records
from xeval.results.predictions import save_predictions

LANGUAGES = {"en": 1.6, "es": 1.1, "zh": 0.9, "de": 1.0, "ar": 0.8, "ur": 0.6, "th": 0.5}  # how much is known
N_ROWS = 60
TASK = all_tasks()["xnli"]
CARD = get_reference("distilmbert-card")


def sample_matrix(results: Path) -> matrix.Matrix:
    """DistilmBERT with two seeds beside its published row, and a model of one seed that is in no table."""
    runs = [
        _run(results, CARD.rows[-1].model, seed=1, knowledge=1.0),
        _run(results, CARD.rows[-1].model, seed=2, knowledge=1.1),
        _run(results, "organisation/another", seed=1, knowledge=1.4),
    ]
    return matrix.build(runs, "xnli", CARD, n_labels=3)


def _run(results: Path, model: str, seed: int, knowledge: float) -> tuple[Path, records.RunRecord]:
    folder = results / "xnli" / model.replace("/", "--") / f"hf-2019-seed{seed}"
    scores = {}
    for index, (language, known) in enumerate(LANGUAGES.items()):
        generator = np.random.default_rng([seed, index])
        labels = np.arange(N_ROWS) % 3
        logits = generator.normal(size=(N_ROWS, 3))
        logits[np.arange(N_ROWS), labels] += known * knowledge
        scores[language] = _score(logits, labels, save_predictions(folder, language, logits, labels), index)
    environment = run_record().environment.model_copy(
        update={
            "versions": {"xeval": "1.0", "torch": "2.0", "transformers": "5.0"},
            "started_at": "2026-01-02T03:04:05+00:00",
        }
    )
    record = run_record(
        task="xnli",
        task_title=TASK.title,
        model=records.ModelRecord(
            id=model, origin="hub", revision="0123456789abcdef", sha256=SHA, n_parameters=12, architecture="bert"
        ),
        recipe=records.RecipeRecord(name="hf-2019", values={"learning_rate": 5e-5}, overrides={}),
        seed=seed,
        limits=records.Limits(),
        scores=scores,
        timing={
            "train": records.Timing(wall_s=1800.0, pairs=20),
            "evaluate/en": records.Timing(wall_s=180.0, pairs=N_ROWS),
        },
        environment=environment,
    )
    return folder, record


def _score(logits: np.ndarray, labels: np.ndarray, sha256: str, index: int) -> records.CellScore:
    n_correct = int((logits.argmax(axis=1) == labels).sum())
    return records.CellScore(
        accuracy=n_correct / N_ROWS,
        n_examples=N_ROWS,
        n_correct=n_correct,
        ci95_low=0.0,
        ci95_high=1.0,
        truncated_share=index / 100,
        unknown_piece_share=index / 1000,
        pieces_per_word=None if index % 3 == 2 else 1 + index / 10,
        pieces_per_pair=30.0,
        predictions_sha256=sha256,
    )
