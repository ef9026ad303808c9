"""Results for a report: two models, three seeds, predictions on disk, a published row. The same each time."""

import re
from pathlib import Path

import numpy as np

from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import INVOCATION, environment, files_of, run_record
from xeval.definitions.registry import all_tasks, get_reference
from xeval.judging.score import wilson_interval
from xeval.kinds.tokenization import Tokenization
from xeval.report import matrix
from xeval.results import records
from xeval.results.store import StoredRun

LANGUAGES = {"en": 1.6, "es": 1.1, "zh": 0.9, "de": 1.0, "ar": 0.8, "ur": 0.6, "th": 0.5}  # how much the models know
N_ROWS = 60
TASK = all_tasks()["xnli"]
CARD = get_reference("distilmbert-card")


def undated(report: str) -> str:
    """Return a report without the day on which it was made, for comparing it with one made after midnight."""
    return re.sub(r"\d{4}-\d{2}-\d{2}, by xeval", "by xeval", report)


def sample_matrix(results: Path) -> matrix.Matrix:
    """DistilmBERT with two seeds next to its published row, and a model with one seed that is in no table."""
    return matrix.build(sample_runs(results), "xnli", CARD)


def sample_runs(results: Path, n_rows: int = N_ROWS) -> list[StoredRun]:
    """The runs of `sample_matrix`, with `n_rows` rows in each language."""
    models = [(CARD.rows[-1].model, 1, 1.0), (CARD.rows[-1].model, 2, 1.1), ("organisation/another", 1, 1.4)]
    return [_run(results, model, seed, knowledge, n_rows) for model, seed, knowledge in models]


def _run(results: Path, model: str, seed: int, knowledge: float, n_rows: int) -> StoredRun:
    folder = results / "xnli" / model.replace("/", "--") / f"hf-2019-seed{seed}"
    scores = {}
    for index, (language, known) in enumerate(LANGUAGES.items()):
        generator = np.random.default_rng([seed, index])
        labels = np.arange(n_rows) % 3
        logits = generator.normal(size=(n_rows, 3))
        logits[np.arange(n_rows), labels] += known * knowledge
        scores[language] = _score(logits, labels, save_predictions(folder, language, logits, labels), index)
    made_with = environment(
        versions={"xeval": "1.0", "torch": "2.0", "transformers": "5.0"}, started_at="2026-01-02T03:04:05+00:00"
    )
    record = run_record(
        task="xnli",
        task_title=TASK.title,
        labels=list(TASK.labels),
        model=records.ModelRecord(
            id=model,
            origin="hub",
            revision="0123456789abcdef",
            sha256=files_of(model),
            n_parameters=12,
            architecture="bert",
        ),
        recipe=records.RecipeRecord(name="hf-2019", values={"learning_rate": 5e-5}, overrides={}),
        seed=seed,
        limits=records.Limits(),
        scores=scores,
        timing={
            "train": records.Timing(wall_s=1800.0, rows=20, invocation=INVOCATION),
            "evaluate/en": records.Timing(wall_s=180.0, rows=n_rows, invocation=INVOCATION),
        },
        invocations={INVOCATION: records.Invocation(environment=made_with)},
    )
    return StoredRun(folder, record)


def _score(logits: np.ndarray, labels: np.ndarray, sha256: str, index: int) -> records.Score:
    n_correct = int((logits.argmax(axis=1) == labels).sum())
    return records.Score(
        value=n_correct / len(labels),
        ci95=wilson_interval(n_correct / len(labels), len(labels)),
        n_rows=len(labels),
        n_groups=len(labels) // 3,
        totals={"correct": n_correct, "rows": len(labels)},
        tokenization=Tokenization(
            truncated_share=index / 100,
            unknown_piece_share=index / 1000,
            pieces_per_word=None if index % 3 == 2 else 1 + index / 10,
            pieces_per_row=30.0,
        ),
        predictions_sha256=sha256,
        invocation=INVOCATION,
        majority=records.Majority(label=TASK.labels[0], n_rows=int(np.bincount(labels).max())),
    )
