"""xeval can read the largest files that it writes, and refuses to write larger ones."""

import pytest

import xeval.data.bundle
import xeval.definitions.task
import xeval.results.candidates
import xeval.results.store
import xeval.runs.execute
import xeval.runs.plan
import xeval.support.sealed
from tests.helpers.results import a_run, evaluate_checkpoints, files_in
from tests.helpers.sample_record import SHA, run_record, score
from xeval.judging.score import MOST_LABELS
from xeval.results import records, store
from xeval.results.candidates import MOST_PREDICTIONS
from xeval.runs.plan import plan_grid, write_plan
from xeval.support.errors import BundleError, DefinitionError, StoreError
from xeval.support.sealed import MAX_MANIFEST_BYTES, checksums, sealing

MOST_LANGUAGES = 500  # the most that a task file may have
BRIEF = """\
name = "often"
description = "Six steps, measured after each"
learning_rate = 1e-3
batch_size = 8
epochs = 2
max_length = 48
evaluate_every_steps = 1
"""


def test_the_largest_record_can_be_read(tmp_path):
    point = records.SelectionPoint(step=10**6, value=1 / 3, loss=1 / 7)
    training = run_record().training.model_copy(update={"selection_curve": [point] * MOST_PREDICTIONS})
    most_rows = 10**8
    cell = score(1 / 3, confusion=[[most_rows // MOST_LABELS**2] * MOST_LABELS] * MOST_LABELS)
    scores = {f"l{number:03}": cell for number in range(MOST_LANGUAGES)}
    record = run_record(training=training, scores=scores)
    store.save_record(tmp_path, record)
    assert store.load_record(tmp_path) == record


def test_largest_checkpoint_record_is_within_limits():
    of_language = records.CheckpointScore(value=1 / 3, n_rows=10**6, rows_sha256=SHA, predictions_sha256=SHA)
    scores = {f"l{number:03}_Abcd": of_language for number in range(MOST_LANGUAGES)}
    one = records.CheckpointRecord(step=10**6, weights_sha256=SHA, scores=scores, failures={})
    n_bytes = len(one.model_dump_json(indent=3)) * MOST_PREDICTIONS // MOST_LANGUAGES
    assert n_bytes < xeval.results.candidates.MAX_RECORD_BYTES
    line = f"{SHA}  step-{10**6}/predictions/{'l' * 250}.parquet\n"
    assert len(line) * MOST_PREDICTIONS < MAX_MANIFEST_BYTES


def test_oversized_record_does_not_replace_the_old_one(tmp_path, monkeypatch):
    store.save_record(tmp_path, run_record())
    before = files_in(tmp_path)
    monkeypatch.setattr(xeval.results.store, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(StoreError, match="would have more than 1,000 bytes"):
        store.save_record(tmp_path, run_record())
    assert files_in(tmp_path) == before


def test_oversized_checkpoint_record_is_refused(tmp_path, monkeypatch):
    folder = a_run(tmp_path, "de")
    monkeypatch.setattr(xeval.results.candidates, "MAX_RECORD_BYTES", 500)
    with pytest.raises(StoreError, match="cannot be written: its record would have more than 500 bytes"):
        evaluate_checkpoints(folder, "de")
    assert not (folder / "checkpoints").exists()


def test_oversized_checksum_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xeval.support.sealed, "MAX_MANIFEST_BYTES", 200)
    for n_files in (2, 3):
        try:
            with sealing(tmp_path / "sealed") as partial:
                for number in range(n_files):
                    (partial / f"{number}").write_bytes(b"content")
        except OSError as error:
            assert n_files == 3 and "more than 200 bytes" in error.strerror
    assert len(checksums(tmp_path / "sealed")) == 2


@pytest.mark.parametrize("every_checkpoint", [False, True])
def test_too_many_checkpoints_are_refused(command, mini, checkpoint_of, tmp_path, monkeypatch, every_checkpoint):
    recipe = tmp_path / "often.toml"
    recipe.write_text(BRIEF)
    monkeypatch.setattr(xeval.runs.execute, "MOST_PREDICTIONS", 11 if every_checkpoint else 5)
    monkeypatch.setattr("xeval.engine.steps.logits_of", lambda *args: pytest.fail("no step should be taken"))
    words = ["--model", checkpoint_of("bert"), "--data", mini.data, "--recipe", recipe, "--language", "en,es"]
    answer = command("run", mini.task_file, *words, *(["--every-checkpoint"] if every_checkpoint else []))
    assert answer.code == 1
    times = " times 2 languages" if every_checkpoint else ""
    assert f"recipe often measures 6 checkpoints{times}; wanted at most" in answer.err


def test_oversized_plan_is_not_written(mini, checkpoint_of, monkeypatch, tmp_path):
    options = {"data": mini.data, "seeds": [1, 2], "results": tmp_path / "results"}
    plan = plan_grid(str(mini.task_file), [str(checkpoint_of("bert"))], measures=False, **options)
    monkeypatch.setattr(xeval.runs.plan, "MAX_PLAN_BYTES", 1000)
    with pytest.raises(StoreError, match=r"plan\.json: wanted at most 1,000 bytes, got [12],"):
        write_plan(plan, tmp_path / "plan.json")
    assert not (tmp_path / "plan.json").exists()
    monkeypatch.setattr(xeval.runs.plan, "MOST_RUNS", 1)
    with pytest.raises(DefinitionError, match="a plan of 2 runs; wanted at most 1: plan some"):
        plan_grid(str(mini.task_file), [str(checkpoint_of("bert"))], measures=False, **options)


def test_bundle_of_too_many_files_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(xeval.data.bundle, "MAX_TEXT_BYTES", 200)
    (tmp_path / "file").write_bytes(b"content")
    contents = xeval.data.bundle.Contents(reference="x", repositories=[])
    with pytest.raises(BundleError, match="too many files for a bundle"):
        xeval.data.bundle.write(tmp_path / "bundle.tar", contents, {"a": tmp_path / "file", "b": tmp_path / "file"})
    assert not (tmp_path / "bundle.tar").exists()


def test_record_allows_a_billion_trained_rows(tmp_path):
    timing = {"train": records.Timing(wall_s=1e6, rows=10**9)}
    store.save_record(tmp_path, run_record(timing=timing))
    assert store.load_record(tmp_path).timing["train"].rows == 10**9
