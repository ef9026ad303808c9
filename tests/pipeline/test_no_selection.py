"""A task without rows to select a checkpoint on: training keeps the last one."""

import pytest

from tests.helpers import tiny
from xeval.runs.grid import run
from xeval.support.errors import DefinitionError


@pytest.fixture
def unselected(tmp_path, checkpoint_of):
    """Run options for a task whose data have no selection split."""
    rows = {key: of_split for key, of_split in tiny.mini_rows().items() if key[0] != "selection"}
    task_file = tiny.write_task(tmp_path / "tasks", (f"selection = {tiny.COUNTS['selection']}\n", ""))
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    return {
        "task": str(task_file),
        "models": [str(checkpoint_of("bert"))],
        "data": data,
        "results": tmp_path / "results",
        "device": "cpu",
        "overrides": {"max_steps": 3, "batch_size": 8, "max_length": 48, "selection": "last"},
    }


def test_last_checkpoint_is_taken_without_evaluation(unselected):
    (record,) = run(**unselected)
    assert record.status == "complete" and record.scores.keys() == {"en", "es", "zh"}
    assert record.training.selection_curve == []
    assert record.training.chosen_step == record.training.n_steps == 3
    assert record.data.sha256.keys() == {"train", "test"}
    (again,) = run(**unselected)
    assert again == record


def test_a_recipe_that_selects_is_refused(unselected):
    unselected["overrides"]["selection"] = "english-dev"
    with pytest.raises(
        DefinitionError, match=r"has no rows to select on; take the last checkpoint \(--selection last\)"
    ):
        run(**unselected)


def test_evaluating_every_checkpoint_is_refused(unselected):
    with pytest.raises(DefinitionError, match="leave out --every-checkpoint"):
        run(**unselected, every_checkpoint=True)


def test_evaluating_on_dev_is_refused(unselected):
    with pytest.raises(DefinitionError, match="task mini-pairs has no split 'dev'; leave out --test-split"):
        run(**unselected, test_split="dev")
