"""`xeval merge` combines the results of several machines; nothing is lost, duplicated or mixed up."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.results import (
    a_run,
    add_language,
    evaluate_checkpoints,
    files_in,
    keep_weights,
    logits_of,
    write_as_other_pyarrow,
)
from tests.helpers.sample_record import INVOCATION, SHA, run_record
from xeval.results.candidates import load_checkpoints
from xeval.results.configurations import by_configuration
from xeval.results.merge import merge
from xeval.results.predictions import load_predictions
from xeval.results.records import Failure, Invocation, ModelRecord
from xeval.results.store import (
    load_record,
    load_runs,
    load_trial,
    own_weights,
    save_record,
    save_trial,
    successor_folder,
    trial_folder,
)
from xeval.support.errors import StoreError
from xeval.support.sealed import checksums

OTHER = "b" * 64
A, B, DST = "a", "b", "dst"


def outcomes(merged) -> list[str]:
    return [run.outcome for run in merged]


def only_record(results: Path):
    [run] = load_runs(results)
    return run.record


def check_all_readable(results: Path) -> None:
    for run in load_runs(results):
        for language, score in run.record.scores.items():
            load_predictions(run.folder, language, score.predictions_sha256)
    by_configuration(load_runs(results))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ── what is new ──


def test_runs_of_two_machines_are_copied_unchanged(here):
    a_run(here / A, "de", "es", seed=1)
    a_run(here / B, "de", seed=2)
    assert outcomes(merge([A, B], DST)) == ["new", "new"]
    assert files_in(here / DST) == files_in(here / A) | files_in(here / B)
    check_all_readable(here / DST)


def test_merging_again_changes_nothing(here):
    a_run(here / A, "de", seed=1)
    a_run(here / B, "de", "fr", seed=1)
    merge([A, B], DST)
    before = files_in(here / DST)
    again = merge([A, B], DST)
    assert outcomes(again) == ["there already"] * 2
    assert [run.languages for run in again] == [[], []]
    assert files_in(here / DST) == before


def test_sources_are_only_read(here):
    a_run(here / A, "de")
    before = {path: path.stat().st_mtime_ns for path in (here / A).rglob("*")}
    merge([A], DST)
    assert {path: path.stat().st_mtime_ns for path in (here / A).rglob("*")} == before


# ── one run on several machines ──


def test_languages_of_one_run_are_joined_in_one_record(here):
    a_run(here / A, "de", "es", invocations={INVOCATION: Invocation(environment=run_record().environments[0])})
    a_run(here / B, "es", "fr")
    merged = merge([A, B], DST)
    assert outcomes(merged) == ["new", "added to"] and merged[1].languages == ["fr"]
    record = only_record(here / DST)
    assert list(record.scores) == ["de", "es", "fr"] and set(record.data.sha256["test"]) == {"de", "es", "fr"}
    assert record.status == "complete"
    check_all_readable(here / DST)


def test_first_score_of_a_language_is_kept(here):
    mine, its = a_run(here / A, "de"), a_run(here / B)
    record = add_language(its, load_record(its), "de", logits_of(9, 9))
    assert record.scores != load_record(mine).scores
    assert outcomes(merge([A, B], DST)) == ["new", "there already"]
    assert only_record(here / DST) == load_record(mine)


def test_run_with_different_weights_is_left_out(here):
    a_run(here / A, "de")
    other = a_run(here / B, "de", "es", weights=OTHER)
    merged = merge([A, B], DST)
    assert outcomes(merged) == ["new", "left out"]
    [note] = merged[1].notes
    assert str(other.relative_to(here)) in note and "other weights" in note and "\n" not in note
    assert not merged[1].damage
    assert files_in(here / DST) == files_in(here / A)


def test_same_run_under_another_model_name_is_merged(here):
    a_run(here / A, "de")
    named = ModelRecord(id="m", origin="local", revision=None, sha256=SHA, n_parameters=12, architecture="bert")
    a_run(here / B, "es", model=named)
    assert outcomes(merge([A, B], DST)) == ["new", "added to"]
    assert list(only_record(here / DST).scores) == ["de", "es"]


def test_language_scored_on_other_rows_is_left_out(here):
    a_run(here / A, "de")
    folder = a_run(here / B, "de", "es")
    record = load_record(folder)
    data = record.data.model_copy(update={"sha256": {"test": {"de": OTHER, "es": SHA}}})
    save_record(folder, record.model_copy(update={"data": data}))
    merged = merge([A, B], DST)
    assert merged[1].outcome == "added to" and "de was scored on other rows" in merged[1].notes[0]
    assert only_record(here / DST).data.sha256["test"] == {"de": SHA, "es": SHA}


def test_untrained_runs_are_matched_by_model_files(here):
    recipe = run_record().recipe.model_copy(update={"name": "no-train", "values": {"max_length": 128}})
    for name, seed, language in ((A, 1, "de"), (B, 2, "es")):  # the recipe's seed does not matter
        a_run(here / name, language, seed=seed, training=None, recipe=recipe)
    assert outcomes(merge([A, B], DST)) == ["new", "added to"]


def test_conflicting_external_predictions_are_left_out(here):
    recipe = run_record().recipe.model_copy(update={"name": "predictions", "values": {}})
    a_run(here / A, "de", training=None, recipe=recipe)
    folder = a_run(here / B, "es", training=None, recipe=recipe)
    add_language(folder, load_record(folder), "de", logits_of(9, 9))
    merged = merge([A, B], DST)
    assert merged[1].outcome == "left out" and "other predictions in 'de'" in merged[1].notes[0]


def test_external_predictions_are_joined_if_versions_of_pyarrow_differ(here):
    recipe = run_record().recipe.model_copy(update={"name": "predictions", "values": {}})
    a_run(here / A, "de", training=None, recipe=recipe)
    write_as_other_pyarrow(a_run(here / B, "de", "es", training=None, recipe=recipe))
    assert outcomes(merge([A, B], DST)) == ["new", "added to"]
    assert list(only_record(here / DST).scores) == ["de", "es"]
    check_all_readable(here / DST)


def test_scores_in_another_metric_are_not_mixed(here):
    a_run(here / A, "de")
    a_run(here / B, "es", metric="f1")
    merged = merge([A, B], DST)
    assert merged[1].outcome == "left out" and "scores in accuracy, not in f1" in merged[1].notes[0]


@pytest.mark.parametrize("failed_first", [True, False])
def test_failed_run_does_not_displace_a_successful_one(here, failed_first):
    fails = {"train": Failure(reason="the loss became nan", invocation=INVOCATION)}
    a_run(here / A, training=None, status="failed", failures=fails)
    a_run(here / B, "de")
    merged = merge([A, B] if failed_first else [B, A], DST)
    assert outcomes(merged) == ["new", "new" if failed_first else "there already"]
    assert only_record(here / DST) == only_record(here / B)


def test_failure_in_a_language_is_cleared_by_its_score(here):
    fails = {"evaluate/es": Failure(reason="logits are no numbers", invocation=INVOCATION)}
    a_run(here / A, "de", status="incomplete", failures=fails)
    a_run(here / B, "es")
    merge([A, B], DST)
    record = only_record(here / DST)
    assert (record.status, record.failures, list(record.scores)) == ("complete", {}, ["de", "es"])


@pytest.mark.parametrize(("languages", "status"), [(("de", "es"), "complete"), (("es",), "incomplete")])
def test_interrupted_run_is_completed_by_another(here, languages, status):
    """Only by one that has all of its languages."""
    a_run(here / A, "de", status="incomplete")
    a_run(here / B, *languages)
    merge([A, B], DST)
    assert only_record(here / DST).status == status


# ── other contents of a run's folder ──


def test_intermediate_checkpoints_are_merged_too(here):
    for name, languages in ((A, ("de", "es")), (B, ("es", "fr"))):
        evaluate_checkpoints(a_run(here / name, *languages), *languages)
    assert outcomes(merge([A, B], DST)) == ["new", "added to"]
    [run] = load_runs(here / DST)
    known = load_checkpoints(run.folder, run.record)
    assert known.languages == ["de", "es", "fr"]
    for checkpoint in known.checkpoints:
        assert set(checkpoint.scores) == {"de", "es", "fr"}
        for language, score in checkpoint.scores.items():
            run.candidate_predictions(checkpoint.step, language, score.predictions_sha256)
    before = files_in(here / DST)
    merge([A, B], DST)
    assert files_in(here / DST) == before


def test_checkpoints_sealed_before_a_kill_are_not_lost(here):
    evaluate_checkpoints(a_run(here / DST, "de"), "de")
    [run] = load_runs(here / DST)
    place = run.folder / "checkpoints"
    place.rename(place.with_name("checkpoints.partial"))
    evaluate_checkpoints(a_run(here / A, "es"), "es")
    merge([A], DST)
    assert load_checkpoints(run.folder, run.record).languages == ["de", "es"]


def test_weights_are_added_to_a_run_without_any(here):
    sha256 = hashlib.sha256(b"weights").hexdigest()
    a_run(here / A, "de", weights=sha256)
    assert keep_weights(a_run(here / B, "de", weights=sha256)) == sha256
    merge([A, B], DST)
    [run] = load_runs(here / DST)
    assert checksums(own_weights(run.folder))["model.safetensors"] == sha256


def test_damaged_weights_are_reported_and_left_out(here):
    folder = a_run(here / A, "de", weights=hashlib.sha256(b"weights").hexdigest())
    keep_weights(folder)
    (own_weights(folder) / "model.safetensors").write_bytes(b"weighty")
    [run] = merge([A], DST)
    assert run.outcome == "new" and str(own_weights(folder).relative_to(here)) in run.damage[0]
    assert not own_weights(only_folder(here / DST)).exists()


def only_folder(results: Path) -> Path:
    [run] = load_runs(results)
    return run.folder


def test_sweep_trials_are_merged_too(here):
    record = run_record(scores={}, seed=1_000_000)
    folder = trial_folder(here / A, record.task, record.model.id, record.recipe.name, record.seed, record.identity)
    save_trial(folder, record)
    assert outcomes(merge([A], DST)) == ["new"]
    assert load_trial(here / DST / folder.relative_to(here / A)) == record
    assert outcomes(merge([A], DST)) == ["there already"]


def test_half_moved_successor_replaces_the_old_run(here):
    """Killed after moving its predictions but before its record: the old record's predictions are gone."""
    folder = a_run(here / A, "de")
    new = load_record(folder)
    training = new.training.model_copy(update={"weights_sha256": OTHER})
    new = add_language(successor_folder(folder), new.model_copy(update={"training": training}), "de", logits_of(7, 7))
    shutil.copy(successor_folder(folder) / "predictions" / "de.parquet", folder / "predictions")
    assert outcomes(merge([A], DST)) == ["new"]
    assert only_record(here / DST) == new
    check_all_readable(here / DST)


def test_unfinished_successor_is_merged_too(here):
    folder = a_run(here / A, "de", "es")
    a_run(here / A, "de", weights=OTHER, at=str(successor_folder(folder).relative_to(here / A)))
    merge([A], DST)
    assert files_in(here / DST) == files_in(here / A)


# ── damage ──


def test_damaged_runs_are_named_and_the_rest_is_merged(here):
    damaged = [a_run(here / A, "de", "es", seed=seed) for seed in (1, 2)]
    whole = a_run(here / A, "de", seed=3)
    (damaged[0] / "record.json").write_bytes((damaged[0] / "record.json").read_bytes().replace(b"0.5", b"0.6"))
    (damaged[1] / "predictions" / "es.parquet").write_bytes(b"PAR1")
    merged = merge([A], DST)
    assert outcomes(merged) == ["damaged", "damaged", "new"]
    for run, folder in zip(merged, damaged, strict=False):
        [line] = run.damage
        assert str(folder.relative_to(here)) in line and "\n" not in line
    assert [run.folder.name for run in load_runs(here / DST)] == [whole.name]


def test_damaged_run_in_the_destination_is_left_untouched(here):
    a_run(here / A, "de")
    folder = a_run(here / DST, "es")
    (folder / "record.json").write_bytes(b"{}")
    before = files_in(here / DST)
    [run] = merge([A], DST)
    assert run.outcome == "damaged" and str(folder.relative_to(here)) in run.damage[0]
    assert files_in(here / DST) == before


def test_lost_predictions_are_restored_from_a_copy(here):
    a_run(here / A, "de", "es")
    merge([A], DST)
    before = files_in(here / DST)
    (only_folder(here / DST) / "predictions" / "de.parquet").unlink()
    assert outcomes(merge([A], DST)) == ["there already"]
    assert files_in(here / DST) == before


# ── folders made by hand ──


def test_runs_in_same_named_folders_do_not_mix(here):
    a_run(here / A, "de", seed=1, at="cats/m/best")
    other = a_run(here / B, "de", "es", seed=2, at="cats/m/best")
    assert outcomes(merge([A, B], DST)) == ["new", "new"]
    assert sorted(run.record.seed for run in load_runs(here / DST)) == [1, 2]
    assert (here / DST / "cats/m/best/record.json").read_bytes() == (here / A / "cats/m/best/record.json").read_bytes()
    check_all_readable(here / DST)
    add_language(other, load_record(other), "fr", logits_of(3, 3))
    assert [run.languages for run in merge([A, B], DST)] == [[], ["fr"]]
    assert len(load_runs(here / DST)) == 2


def test_destination_folder_of_another_run_is_reported(here):
    mine = a_run(here / A, "de", seed=1)
    a_run(here / DST, "de", seed=2, at=str(mine.relative_to(here / A)))
    [run] = merge([A], DST)
    assert run.outcome == "damaged" and "holds a different run than its name says" in run.damage[0]


def test_links_are_followed_and_not_copied_as_links(here):
    a_run(here / A, "de")
    (here / "link").symlink_to(here / A)
    run_link = here / B / "cats" / "org--m"
    run_link.parent.mkdir(parents=True)
    run_link.symlink_to(here / A / "cats" / "org--m")
    merge(["link", B], DST)
    assert not [path for path in (here / DST).rglob("*") if path.is_symlink()]
    assert files_in(here / DST) == files_in(here / A)


@pytest.mark.parametrize(
    ("sources", "destination", "said"),
    [
        (["a"], "a", "is a, which is to be merged into it"),
        (["a"], "link", "link: is a, which"),
        (["link"], "a", "a: is link, which"),
        (["a"], "a/inside", "a/inside: lies in a, which"),
        (["a"], "link/inside", "lies in a, which"),
        (["absent"], DST, "absent: cannot be read: No such file or directory"),
        (["a", "file"], DST, "file: cannot be read: Not a directory"),
        (["a"], "file", "file: wanted a folder to merge into, got a file"),
        (["a", "empty"], DST, "empty: there are no runs in it"),
        (["a/cats"], DST, "a/cats: there are no runs in it"),
        (["circle"], DST, "circle: cannot be read: Too many levels of symbolic links"),
        (["a"], "circle", "circle: a link that leads to itself; name another"),
        (["a"], "circle/x", "circle/x: a link that leads to itself"),
    ],
)
def test_unmergeable_folders_are_refused_before_writing(here, sources, destination, said):
    a_run(here / A, "de")
    (here / "empty").mkdir()
    (here / "file").write_text("x")
    (here / "link").symlink_to("a")
    (here / "circle").symlink_to("circle")
    before = files_in(here)
    with pytest.raises(StoreError) as refused:
        merge(sources, destination)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert files_in(here) == before and not (here / DST).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_unreadable_folder_is_refused(here):
    folder = a_run(here / A, "de").parent
    folder.chmod(0)
    try:
        with pytest.raises(StoreError) as refused:
            merge([A], DST)
    finally:
        folder.chmod(0o755)
    expected = f"{folder.relative_to(here)}: cannot be read: Permission denied; wanted a results folder"
    assert str(refused.value) == expected and not (here / DST).exists()


# ── the command ──


def test_command_counts_runs_by_source_and_exits_1_for_damage(command, here):
    a_run(here / A, "de", seed=1)
    a_run(here / B, "de", seed=1, weights=OTHER)
    code, out, err = command("merge", A, B, DST)
    assert code == 0
    note, header, *rows = out.splitlines()
    assert note.startswith("b/cats/org--m/r-seed1-") and note.endswith("has other weights and came first")
    assert header.split("  ")[0] == "from" and "languages taken" in header
    assert [row.split() for row in rows] == [[A, "1", "1", "0", "0", "0", "0", "1"], [B, *"1000100"]]
    assert err.startswith("merge: 2 runs in ")
    (only_folder(here / B) / "predictions" / "de.parquet").unlink()
    code, out, err = command("merge", "--quiet", B, DST)
    assert (code, err) == (1, "") and "de.parquet: cannot be read: No such file or directory" in out


def test_missing_source_exits_with_2(command, here):
    code, out, err = command("merge", "absent", DST)
    assert (code, out) == (2, "")
    assert err == "xeval: absent: cannot be read: No such file or directory; wanted a results folder\n"


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_failed_language_that_nobody_has_keeps_a_run_incomplete(here, order):
    a_run(here / A, "de")
    fails = {"evaluate/fr": Failure(reason="logits are no numbers", invocation=INVOCATION)}
    a_run(here / B, "es", status="incomplete", failures=fails)
    merge(order, DST)
    record = only_record(here / DST)
    assert (record.status, set(record.failures), set(record.scores)) == ("incomplete", {"evaluate/fr"}, {"de", "es"})
