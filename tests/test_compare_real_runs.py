"""Comparing real runs of the pipeline: premises are saved, and two selections can be compared."""

import json
import sys

import numpy as np
import pytest

from xeval.cli import main
from xeval.judging.comparison.named_runs import find_runs
from xeval.judging.comparison.paired_runs import pair
from xeval.results.predictions import groups_of, load_predictions


@pytest.fixture(scope="module")
def results(tmp_path_factory, mini, checkpoint_of):
    """mini-pairs with two seeds, once with the last checkpoint and once with the best one on English dev."""
    from xeval.runs.grid import run

    folder = tmp_path_factory.mktemp("compared")
    for selection in ("last", "english-dev"):
        run(
            str(mini.task_file),
            [str(checkpoint_of("bert"))],
            languages=["en", "es"],
            seeds=[1, 2],
            overrides={
                "selection": selection,
                "max_length": 48,
                "epochs": 3.0,
                "learning_rate": 2e-3,
                "batch_size": 8,
            },
            data=mini.data,
            results=folder,
            device="cpu",
            dtype="float32",
        )
    return folder


def test_saved_predictions_number_the_premises(results):
    [folder, *_] = [path.parent for path in results.glob("*/*/*/record.json")]
    [run] = find_runs(str(folder), results)
    table = load_predictions(folder, "es", run.record.scores["es"].predictions_sha256)
    np.testing.assert_array_equal(groups_of(table), np.repeat(np.arange(4), 3))  # three hypotheses to a premise


def test_two_selections_of_one_training_can_be_compared(results, monkeypatch, capsys):
    model = str(next(results.glob("*/*")))
    a, b = (find_runs(f"{model}:selection={selection}", results) for selection in ("english-dev", "last"))
    paired = pair(a, b)
    assert all(language.has_groups for language in paired.languages)
    curves = [[run.record.training.selection_curve for run in runs] for runs in (a, b)]
    assert curves[0] == curves[1]  # the same trainings
    words = [f"{model}:selection=english-dev", f"{model}:selection=last", "--format", "json"]
    monkeypatch.setattr(sys, "argv", ["xeval", "compare", *words])
    with pytest.raises(SystemExit) as left:
        main()
    content = json.loads(capsys.readouterr().out)
    assert left.value.code == 0 and content["resampled"] == "premises"
    assert content["name_a"].endswith("selection english-dev") and content["name_b"].endswith("selection last")
