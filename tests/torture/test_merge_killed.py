"""A merge killed, or with a failing disk, at every file operation: results stay readable, and the next one finishes."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import victims as victim

from tests.helpers.killed import answer_unless_killed
from tests.helpers.results import a_run, evaluate_checkpoints, files_in, keep_weights
from xeval.results.candidates import load_checkpoints
from xeval.results.merge import merge
from xeval.results.predictions import load_predictions
from xeval.results.store import load_runs

BEFORE = {"de"}
AFTER = {"de", "es", "fr"}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """`start`, and `a` to merge into it: a new run, and new languages and weights of a run that `start` has."""
    folder = tmp_path_factory.mktemp("world")
    weights = keep_weights(folder / "unused")
    for name, languages in (("start", ("de",)), ("a", ("es", "fr"))):
        evaluate_checkpoints(a_run(folder / name, *languages, weights=weights), *languages)
    keep_weights(load_runs(folder / "a")[0].folder)
    a_run(folder / "a", "de", seed=4)
    return folder


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory) -> dict[str, bytes]:
    """The files after an undisturbed merge."""
    folder = Path(shutil.copytree(world / "start", tmp_path_factory.mktemp("whole") / "dst"))
    merge([world / "a"], folder)
    check_what_was_there_is_there(folder, AFTER)
    assert len(load_runs(folder)) == 2
    return files_in(folder)


def check_what_was_there_is_there(folder: Path, languages: set[str]) -> None:
    """Every prediction that a record or a list of checkpoints names can be read."""
    for run in load_runs(folder):
        for language, score in run.record.scores.items():
            load_predictions(run.folder, language, score.predictions_sha256)
    [run] = [run for run in load_runs(folder) if run.record.seed == 3]
    assert languages <= run.record.scores.keys() <= AFTER
    if (run.folder / "checkpoints").exists():  # or a sealed one is about to replace it
        for checkpoint in load_checkpoints(run.folder, run.record).checkpoints:
            for language, score in checkpoint.scores.items():
                run.candidate_predictions(checkpoint.step, language, score.predictions_sha256)


def merged_with_fault(world: Path, folder: Path, victims, nth: int, error: int) -> tuple | None:
    """The answer of the merge; None if it was killed."""
    shutil.copytree(world / "start", folder)
    return answer_unless_killed(victims, victim.merge_with_fault, [world / "a"], folder, nth=nth, error=error)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_next_merge_finishes_a_killed_one(world, whole, tmp_path, victims, figure, every):
    n_kills, place = 0, 1
    while True:
        folder = tmp_path / f"kill-{place}"
        if merged_with_fault(world, folder, victims, place, 0) is not None:
            break
        check_what_was_there_is_there(folder, BEFORE)
        merge([world / "a"], folder)
        assert files_in(folder) == whole
        n_kills, place = n_kills + 1, place + every
    each = "each" if every == 1 else "some"
    figure(
        f"SIGKILL at {each} of the {place - 1} file operations of a merge", f"{n_kills} ended by the next, identical"
    )
    assert n_kills * every > 40


@pytest.mark.parametrize("name", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_disk_failure_in_a_merge_loses_nothing(world, whole, tmp_path, victims, figure, name, every):
    n_faults, place, error = 0, 1, getattr(errno, name)
    while True:
        folder = tmp_path / f"fault-{place}"
        outcome, _ = merged_with_fault(world, folder, victims, place, error)
        if not isinstance(outcome, str):
            assert all(damage == [] for _, damage in outcome)
            break
        assert "\n" not in outcome and str(folder) in outcome and os.strerror(error) in outcome
        check_what_was_there_is_there(folder, BEFORE)
        merge([world / "a"], folder)
        assert files_in(folder) == whole
        n_faults, place = n_faults + 1, place + every
    each = "each" if every == 1 else "some"
    what = f"{name} from {each} of the {place - 1} file operations of a merge on"
    figure(what, f"{n_faults} times one line, the next merge identical")
    assert n_faults * every > 40
