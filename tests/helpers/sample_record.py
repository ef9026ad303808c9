"""A record as a run leaves it, for tests that want one without a run."""

from datetime import UTC, datetime

from xeval.results import records

SHA = "a" * 64


def run_record(**changes) -> records.RunRecord:
    values = {
        "identity": SHA,
        "status": "complete",
        "task": "cats",
        "task_title": "Cats “and” dogs – ภาษาไทย",
        "task_note": "",
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
        "data": records.DataRecord(
            source="hub/x",
            revision=None,
            sha256={"test": {"de": SHA}},
            train_rows={"found": 10, "expected": 12, "used": 10},
        ),
        "training": records.TrainingRecord(
            n_steps=4,
            effective_batch_size=8,
            loss_curve=[(2, 1.0986123), (4, 0.1 + 0.2)],
            selection="english-dev",
            selection_curve=[records.SelectionPoint(step=4, accuracy=1 / 3)],
            chosen_step=4,
            weights_sha256=SHA,
        ),
        "scores": {
            "de": records.CellScore(
                accuracy=2 / 3,
                n_examples=3,
                n_correct=2,
                ci95_low=0.2,
                ci95_high=0.9,
                truncated_share=0.0,
                unknown_piece_share=0.0,
                pieces_per_word=None,
                pieces_per_pair=12.5,
                predictions_sha256=SHA,
            )
        },
        "timing": {"train": records.Timing(wall_s=1.5, pairs=20)},
        "environment": records.Environment(
            versions={"torch": "2"},
            commit=None,
            dirty=None,
            hardware={"cpu": "x", "threads": 2},
            device="cpu",
            dtype="float32",
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    }
    return records.RunRecord(**(values | changes))


def score(accuracy: float, n_examples: int = 1000) -> records.CellScore:
    """A score with this accuracy; what else is in it does not matter."""
    return records.CellScore(
        accuracy=accuracy,
        n_examples=n_examples,
        n_correct=round(accuracy * n_examples),
        ci95_low=max(0.0, accuracy - 0.01),
        ci95_high=min(1.0, accuracy + 0.01),
        truncated_share=0.0,
        unknown_piece_share=0.0,
        pieces_per_word=None,
        pieces_per_pair=12.5,
        predictions_sha256=SHA,
    )
