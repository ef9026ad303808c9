"""A submitted results folder: each thing that can be wrong with it is reported in one line."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers import tiny
from xeval.checks import submission
from xeval.checks.after.diagnose import diagnose_run
from xeval.definitions.registry import all_tasks, get_task
from xeval.results.identity import identity, ingredients_of
from xeval.results.predictions import load_predictions, save_predictions, tally_of
from xeval.results.store import StoredRun, load_runs, run_folder, save_record
from xeval.runs.score_given import score_given
from xeval.support.errors import StoreError
from xeval.support.memory_limit import at_most

GOLD = [label for _, _, label in tiny.mini_rows()["test", "es"]]


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """A world with a valid results folder of two languages."""
    world = tmp_path_factory.mktemp("submission")
    tiny.write_task(world / "tasks")
    tiny.write_hub_layout(world / "data", tiny.mini_rows())
    for language in ("es", "zh"):
        path = world / "given" / f"{language}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([GOLD[1], *GOLD[1:]]))
    score_given(
        str(world / "tasks" / "mini-pairs.toml"),
        world / "given",
        model="org/m",
        data=world / "data",
        results=world / "results",
    )
    return world


@pytest.fixture
def world(handed_in, tmp_path):
    shutil.copytree(handed_in, tmp_path, dirs_exist_ok=True)
    return tmp_path


def problems(world: Path, data: bool = True) -> list[str]:
    task = get_task(str(world / "tasks" / "mini-pairs.toml"))
    result = submission.check(world / "results", {task.name: task}, world / "data" if data else None)
    assert not any("\n" in line for line in result.problems)
    return result.problems


def run_of(world: Path):
    [run] = load_runs(world / "results")
    return run


def edit(world: Path, **changes) -> None:
    """Write the changed record, with a matching identity, to the folder that its names give."""
    run = run_of(world)
    record = run.record.model_copy(update=changes)
    record = record.model_copy(update={"identity": identity(ingredients_of(record), record.seed)})
    folder = run_folder(
        world / "results", record.task, record.model.id, record.recipe.name, record.seed, record.identity
    )
    if folder != run.folder:
        folder.parent.mkdir(parents=True, exist_ok=True)
        run.folder.rename(folder)
    save_record(folder, record)


def edit_score(world: Path, **changes) -> None:
    scores = run_of(world).record.scores
    edit(world, scores=scores | {"es": scores["es"].model_copy(update=changes)})


def test_unchanged_results_pass_with_and_without_rows(world):
    assert problems(world) == problems(world, data=False) == []
    task = get_task(str(world / "tasks" / "mini-pairs.toml"))
    assert submission.check(world / "results", {task.name: task}).without_rows == {"mini-pairs"}


@pytest.fixture
def nothing_is_opened(monkeypatch) -> None:
    monkeypatch.setattr(submission, "load_run", lambda folder: pytest.fail(f"the record in {folder} was read"))


def only(world: Path, message: str, data: bool = True) -> None:
    [line] = problems(world, data)
    assert message in line and str(world / "results") in line


# ── numbers ──


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 1.0}, "value is 1 in the record, but the predictions give 0.916667"),
        ({"ci95": (0.9, 1.0)}, "the lower end of ci95 is 0.9 in the record"),
        ({"n_rows": 5010}, "n_rows is 5010 in the record, but the predictions give 12"),
        ({"totals": {"correct": 12, "rows": 12}}, "the sum of correct is 12 in the record"),
        ({"more": {"cuteness": 1.0}}, "cuteness is 1 in the record, but predictions of this kind do not give it"),
    ],
    ids=["value", "interval", "rows", "totals", "another metric"],
)
def test_number_that_contradicts_the_predictions_is_named(world, change, message):
    edit_score(world, **change)
    assert any(message in line for line in problems(world, data=False))
    assert all("es.parquet" in line for line in problems(world))


def rewritten(world: Path, change) -> None:
    """Rewrite the predictions of es with changed columns, and the record to match."""
    run = run_of(world)
    table = run.predictions("es")
    columns = {name: np.array(table[name].to_pylist()) for name in table.column_names if name != "tally"}
    tally, places = change(columns, tally_of(table))
    answers = pa.table({name: pa.array(columns[name], pa.int32()) for name in ("label", "prediction")})
    sha256 = save_predictions(run.folder, "es", answers, tally, columns["group"], places)
    value, totals = tally[:, 0].mean(), {"correct": int(tally[:, 0].sum()), "rows": len(tally)}
    score = run.record.scores["es"].model_copy(
        update={"predictions_sha256": sha256, "value": float(value), "totals": totals}
    )
    edit(world, scores=run.record.scores | {"es": score})


def test_counts_that_contradict_the_predictions_are_named(world):
    def all_right(columns, tally):
        return np.ones_like(tally), columns["row"]

    rewritten(world, all_right)
    assert any("rows whose prediction is not the label are counted as right" in line for line in problems(world, False))


def test_labels_that_contradict_the_tasks_rows_are_named(world):
    def own_labels(columns, tally):
        columns["label"] = columns["prediction"]
        return np.ones_like(tally), columns["row"]

    rewritten(world, own_labels)
    edit_score(world, ci95=run_of(world).record.scores["es"].ci95)
    told = [line for line in problems(world) if "ci95" not in line]
    assert len(told) == 1 and "its counts do not match its predictions on the task's rows" in told[0]


def test_repeated_row_is_named(world):
    def twice(columns, tally):
        columns["row"][1] = columns["row"][0]
        return tally, columns["row"]

    rewritten(world, twice)
    only(world, "a row occurs twice")


def test_rows_other_than_the_tasks_are_named(world):
    rows = {**tiny.mini_rows(), ("test", "es"): tiny.make_rows("es", 12, start=900)}
    tiny.write_hub_layout(world / "data", rows)
    only(world, "the rows that it was scored on are not the task's")


def test_unreadable_data_are_reported(world):
    shutil.rmtree(world / "data" / "es")
    assert any("es" in line for line in problems(world))


# ── files ──


def test_changed_or_missing_predictions_are_named(world):
    path = run_of(world).folder / "predictions" / "es.parquet"
    path.write_bytes(path.read_bytes() + b"\0")
    only(world, "damaged (it is not what the record was made from)")
    path.unlink()
    only(world, "cannot be read: No such file")


def test_edited_or_incompatible_record_is_named(world):
    path = run_of(world).folder / "record.json"
    text = path.read_text()
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    only(world, "damaged or edited (it no longer matches the checksum")
    lines = [line for line in text.splitlines() if "content_sha256" not in line]
    path.write_text("\n".join(lines).replace('"schema_version": 3', '"schema_version": 99'))
    only(world, "schema_version")
    path.write_text("[]")
    assert len(problems(world)) == 1


def test_predictions_without_a_score_or_record_are_named(world):
    folder = run_of(world).folder
    shutil.copy(folder / "predictions" / "es.parquet", folder / "predictions" / "fr.parquet")
    only(world, "its record has no score in this language")
    (folder / "predictions" / "fr.parquet").unlink()
    (folder / "record.json").unlink()
    only(world, "predictions without a record.json")


@pytest.mark.parametrize(
    "name",
    ["README.md", "mini-pairs/x.sh", "mini-pairs/m/run/model.safetensors", "a/b/c/predictions/d/e.parquet", ".git/x"],
)
def test_file_that_belongs_to_no_run_is_named(world, nothing_is_opened, name):
    path = world / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    only(world, "not part of a run")


def test_links_are_not_followed(world, nothing_is_opened):
    (run_of(world).folder / "predictions" / "en.parquet").symlink_to("/etc/passwd")
    only(world, "not an ordinary file; wanted no links")


def test_sizes_and_numbers_of_files_are_bounded(world, monkeypatch, nothing_is_opened):
    with monkeypatch.context() as patch:
        patch.setattr(submission, "MOST_BYTES", {"record.json": 10, ".parquet": 10, ".lock": 1000})
        assert len(problems(world)) == 3 and all("wanted at most 10" in line for line in problems(world))
    with monkeypatch.context() as patch:
        largest = max(path.stat().st_size for path in (world / "results").rglob("*"))
        patch.setattr(submission, "MOST_BYTES_TOGETHER", largest)
        only(world, f"bytes together; wanted at most {largest:,}")
    with monkeypatch.context() as patch:
        patch.setattr(submission, "MOST_FILES", 2)
        only(world, "more than 2 files and folders")


@pytest.mark.parametrize("bound", ["MOST_BYTES_UNPACKED", "MOST_VALUES"])
def test_predictions_that_unpack_to_too_much_are_not_read(world, monkeypatch, bound):
    monkeypatch.setattr(submission, bound, 10)
    monkeypatch.setattr(StoredRun, "predictions", lambda run, language: pytest.fail("it was read"))
    assert len(problems(world)) == 2 and all("unpacks to" in line for line in problems(world))


def test_foreign_table_with_the_right_hash_is_named(world):
    run = run_of(world)
    path = run.folder / "predictions" / "es.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    edit_score(world, predictions_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    only(world, "not what xeval writes")


# ── names ──


@pytest.mark.parametrize("name", ["<script>", "a\u202eb", "a/b/c", "../m", "", "x" * 200, "a\nb", '"quoted"'])
def test_odd_model_name_is_reported(world, name):
    edit(world, model=run_of(world).record.model.model_copy(update={"id": name}))
    assert any(line for line in problems(world) if "model is called" in line)


def test_run_in_the_wrong_folder_is_named(world):
    folder = run_of(world).folder
    folder.rename(folder.with_name("best-run"))
    only(world, "is in the wrong folder; wanted mini-pairs/org--m/predictions-seed0-")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "macro_f1"}, "metric is 'macro_f1'; the task mini-pairs has 'accuracy'"),
        ({"labels": ["a", "b", "c"]}, "labels is ['a', 'b', 'c']"),
        ({"chance": 0.1}, "chance is 0.1"),
        ({"training_language": "zh"}, "training_language is 'zh'"),
        ({"task": "nothing"}, "task 'nothing' is not known here"),
        ({"status": "incomplete"}, "the run is incomplete"),
    ],
    ids=["metric", "labels", "chance", "training language", "task", "status"],
)
def test_field_that_contradicts_the_task_is_named(world, change, message):
    edit(world, **change)
    assert any(message in line for line in problems(world, data=False))


def test_language_that_the_task_lacks_is_named(world):
    run = run_of(world)
    predictions = run.folder / "predictions"
    shutil.copy(predictions / "es.parquet", predictions / "xx.parquet")
    edit(world, scores=run.record.scores | {"xx": run.record.scores["es"]})
    only(world, "scores in 'xx', not among the languages of the task")


def test_repeated_seed_is_named(world):
    run = run_of(world)
    edit(world, model=run.record.model.model_copy(update={"id": "org/again"}))
    again = run_of(world)
    shutil.copytree(again.folder, run.folder)
    save_record(run.folder, run.record)
    only(world, "seed 0 of org/again, predictions is there twice")


# ── the command ──


def test_command_prints_problems_by_line_and_exits_with_1(world, command):
    words = ["check-submission", world / "results", "--tasks-dir", world / "tasks", "--data", world / "data"]
    assert command(*words) == (0, "✓ 1 run, 2 scores: nothing wrong\n", "")
    assert command(*words[:4])[1].endswith("nothing wrong; not compared with the rows of mini-pairs\n")
    edit_score(world, value=1.0)
    code, out, _ = command(*words)
    assert code == 1 and out.count("\n") == 2 and out.startswith("✗ ") and out.endswith("1 problem in 1 run\n")


def test_missing_or_empty_folder_is_refused(tmp_path, command):
    code, _, err = command("check-submission", tmp_path / "nowhere")
    assert code == 2 and "wanted a results folder, found none" in err
    code, out, _ = command("check-submission", tmp_path)
    assert code == 1 and "no run in it" in out


@pytest.mark.parametrize("folder", ["gate", "schema1"])
def test_runs_of_version_0_1_0_pass(folder):
    result = submission.check(Path(__file__).parent / "fixtures" / "v0.1.0" / folder, all_tasks())
    assert result.problems == [] and result.n_runs and not result.without_rows


def test_predictions_outside_the_labels_are_reported(world):
    def other_labels(columns, tally):
        columns["prediction"] = columns["prediction"] + 7
        return tally, columns["row"]

    rewritten(world, other_labels)
    assert problems(world)


MOST = 2**31 - 1  # that a column can hold


@pytest.mark.parametrize("name", ["label", "prediction"])
def test_labels_that_the_task_lacks_are_not_counted(world, name):
    def far_out(columns, tally):
        columns[name][0] = MOST
        return tally, columns["row"]

    rewritten(world, far_out)
    only(world, "not what xeval writes: wanted labels and predictions from 0 to 2")
    [finding] = [each for each in diagnose_run(run_of(world), None, None) if each.name == "damaged predictions"]
    assert "wanted labels and predictions from 0 to 2" in finding.evidence


def test_rows_that_no_task_has_take_no_memory(world):
    def far_out(columns, tally):
        return tally, np.array([*columns["row"][:-1], MOST])

    rewritten(world, far_out)
    with at_most(1_000_000_000):
        names = [finding.name for finding in diagnose_run(run_of(world), None, None)]
    assert "missing or repeated rows" in names


def test_more_logits_than_labels_are_refused(tmp_path):
    logits = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6000), pa.float32()), 6000)
    number = pa.array([0], pa.int32())
    answers = pa.table({"label": number, "prediction": number, "logits": logits})
    sha256 = save_predictions(tmp_path, "es", answers, np.ones((1, 2)), np.zeros(1))
    with pytest.raises(StoreError, match="wanted at most 5,000 logits per row"):
        load_predictions(tmp_path, "es", sha256)


@pytest.mark.parametrize("n_rows", [10**9, -1])
def test_record_with_impossible_counts_is_refused(world, n_rows):
    edit_score(world, confusion=[[n_rows]])
    assert any("confusion" in line for line in problems(world))


def test_each_task_may_have_its_own_folder_of_data(world):
    (world / "data").rename(world / "mini-pairs")
    (world / "data").mkdir()
    (world / "mini-pairs").rename(world / "data" / "mini-pairs")
    assert problems(world) == []


def test_old_records_without_labels_pass(world):
    edit(world, labels=None, chance=None)
    assert problems(world) == []


def test_runs_that_were_not_checked_are_not_counted_as_none(world, command):
    (world / "results" / "notes.txt").write_text("hello")
    code, out, _ = command("check-submission", world / "results", "--tasks-dir", world / "tasks")
    assert code == 1 and "notes.txt: not part of a run" in out
    assert out.endswith("1 problem; no run was checked\n")


def test_folders_that_no_submission_has_are_named_once(world):
    """`--every-checkpoint`, `--keep-weights` and `--sweep` write them; the rules on size are for what is submitted."""
    folder = run_of(world).folder
    for own in (folder / "checkpoints" / "step-10", folder / "weights", folder.parent / "trials" / folder.name):
        own.mkdir(parents=True)
        for name in ("one", "another"):
            (own / name).write_bytes(b"x")
    named = [folder.parent / "trials", folder / "checkpoints", folder / "weights"]
    assert problems(world) == [
        f"{own}: leave this folder out; a submission has records and predictions only" for own in sorted(named)
    ]
