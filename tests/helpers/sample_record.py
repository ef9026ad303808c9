"""Records as runs leave them, for tests that need one without a run."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from xeval.kinds.tokenization import Tokenization
from xeval.results import records
from xeval.results.store import StoredRun

SHA = "a" * 64
INVOCATION = "1" * 32


TOKENIZATION = Tokenization(truncated_share=0.0, unknown_piece_share=0.0, pieces_per_word=None, pieces_per_row=12.5)


def run_record(**changes) -> records.RunRecord:
    values = {
        "identity": SHA,
        "status": "complete",
        "task": "cats",
        "task_title": "Cats “and” dogs – ภาษาไทย",
        "task_note": "",
        "kind": "pair-classification",
        "encoding": "pairs-1",
        "metric": "accuracy",
        "labels": ["yes", "maybe", "no"],
        "chance": 1 / 3,
        "training_language": "en",
        "model": records.ModelRecord(
            id="org/m", origin="hub", revision="abc", sha256=SHA, n_parameters=12, architecture="bert"
        ),
        "recipe": records.RecipeRecord(
            name="r",
            values={"learning_rate": 5e-5, "epochs": 2.0, "max_steps": None},
            overrides={"epochs": 2.0},
        ),
        "seed": 3,
        "limits": records.Limits(max_train=10),
        "dtype": "float32",
        "data": records.DataRecord(
            source="hub/x",
            revision=None,
            sha256={"test": {"de": SHA}},
            train_rows={"found": 12, "expected": 12, "used": 10},
        ),
        "training": records.TrainingRecord(
            n_steps=4,
            effective_batch_size=8,
            loss_curve=[(2, 1.0986123), (4, 0.1 + 0.2)],
            selection="english-dev",
            selection_curve=[records.SelectionPoint(step=4, value=1 / 3)],
            chosen_step=4,
            weights_sha256=SHA,
            invocation=INVOCATION,
        ),
        "scores": {
            "de": records.Score(
                value=2 / 3,
                ci95=(0.2, 0.9),
                n_rows=3,
                n_groups=1,
                totals={"correct": 2, "rows": 3},
                tokenization=TOKENIZATION,
                predictions_sha256=SHA,
                invocation=INVOCATION,
            )
        },
        "timing": {"train": records.Timing(wall_s=1.5, rows=20, invocation=INVOCATION)},
        "invocations": {INVOCATION: records.Invocation(environment=environment())},
    }
    return records.RunRecord(**(values | changes))


def environment(**changes) -> records.Environment:
    values = {
        "versions": {"torch": "2"},
        "commit": None,
        "dirty": None,
        "hardware": {"cpu": "x", "threads": 2},
        "device": "cpu",
        "started_at": "2026-03-01T12:00:00+00:00",
    }
    return records.Environment(**(values | changes))


def sweep_record(chosen: float, scores: dict[float, float | None], n_others: int = 0) -> records.SweepRecord:
    """The record of a sweep over learning rates; `scores` are those of its trials, None for a failed one."""
    trials = [
        records.TrialRecord(
            values={"learning_rate": rate},
            score=value,
            failure="the loss became nan" if value is None else None,
            identity=files_of(str(rate)),
            wall_s=None if value is None else 900.0,
        )
        for rate, value in scores.items()
    ]
    return records.SweepRecord(
        values={"learning_rate": list(scores)},
        chosen={"learning_rate": chosen},
        seed=1_000_000,
        trials=trials,
        n_others=n_others,
    )


def score(accuracy: float, n_rows: int = 1000, **changes) -> records.Score:
    """A score with this accuracy; its other values don't matter."""
    values = {
        "value": accuracy,
        "ci95": (max(0.0, accuracy - 0.01), min(1.0, accuracy + 0.01)),
        "n_rows": n_rows,
        "n_groups": n_rows,
        "totals": {"correct": round(accuracy * n_rows), "rows": n_rows},
        "tokenization": TOKENIZATION,
        "predictions_sha256": SHA,
        "invocation": INVOCATION,
    }
    return records.Score(**(values | changes))


def files_of(model: str) -> str:
    """A hash for a model's files: different models have different ones."""
    return hashlib.sha256(model.encode()).hexdigest()


def stored(runs: Iterable[records.RunRecord]) -> list[StoredRun]:
    """Records as if loaded from disk, each from its own folder."""
    return [StoredRun(Path(f"run-{number}"), record) for number, record in enumerate(runs)]
