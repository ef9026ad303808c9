"""Real faults produce their findings, and a healthy run produces none."""

import json
import random
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tests.helpers import tiny, toy
from tests.helpers.checkpoints import LABELS
from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import run_record, score
from xeval.checks.after.diagnose import diagnose, diagnose_run
from xeval.checks.after.prediction_signatures import (
    Predicted,
    drift_to_one_label,
    missing_or_repeated_rows,
    placeholder_labels,
)
from xeval.checks.after.record_signatures import (
    labels_out_of_line,
    no_better_than_one_label,
    other_selection,
    too_few_steps,
)
from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.registry import get_reference, get_task
from xeval.judging.health import collapse
from xeval.report.from_folder import findings_by_task
from xeval.results.records import ELSEWHERE, NO_TRAINING, Limits, Majority, RecipeRecord, RunRecord, SelectionPoint
from xeval.results.store import StoredRun, load_record, save_record
from xeval.runs.callbacks import Callback
from xeval.runs.grid import run
from xeval.support.cache import weights_folder
from xeval.support.files import file_sha256
from xeval.support.findings import Finding


class World(toy.Toy):
    """The toy task with its own results folder."""

    def diagnose(self, record: RunRecord, results: Path, reference: Reference | None = None) -> list[Finding]:
        return diagnose_run(StoredRun(toy.folder_of(results, record), record), get_task(str(self.task_file)), reference)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    made = toy.write_toy(tmp_path_factory.mktemp("toy"))
    return World(made.folder, made.task_file, made.data, made.model)


@pytest.fixture(scope="module")
def healthy(world) -> tuple[RunRecord, Path]:
    """The record and results folder of a healthy run; its weights are in `fine_tuned`."""
    results = world.folder / "healthy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(world.folder / "cache"))
        record = world.run(results)
        shutil.copytree(weights_folder(record.identity), world.folder / "fine-tuned")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(world.model / name, world.folder / "fine-tuned" / name)
    return record, results


@pytest.fixture
def fine_tuned(world, healthy, tmp_path) -> Path:
    """A copy of the healthy run's weights as a checkpoint, which a test may change."""
    return Path(shutil.copytree(world.folder / "fine-tuned", tmp_path / "fine-tuned"))


def names(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings]


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [finding.line for finding in findings]
    return findings[0]


def test_a_healthy_run_has_no_finding(world, healthy):
    record, results = healthy
    assert min(score.value for score in record.scores.values()) > 0.9
    assert (record.preflight, world.diagnose(record, results)) == ([], [])


# ── the most frequent label ──


def with_majority(accuracy: float, label: str = "NEUTRAL", n_rows: int = 560):
    return score(accuracy, n_rows=1000, majority=Majority(label=label, n_rows=n_rows))


def test_scores_below_one_label_count_as_no_transfer():
    """As on SICK, where always answering NEUTRAL is right in 56 of 100 rows, and chance in 33."""
    scores = {"en": with_majority(0.80), "nl": with_majority(0.57), "ja": with_majority(0.426, n_rows=593)}
    record = run_record(scores=scores, labels=["NEUTRAL", "ENTAILMENT", "CONTRADICTION"])
    found = no_better_than_one_label(record)
    assert found.evidence == "accuracy is ja 42.6 %, while always answering NEUTRAL gives ja 59.3 %"
    assert "no transfer" in names(diagnose(record, {}))  # 57 is within the margin of 56, as 34 is of 33


def test_training_worse_than_one_label_is_a_collapse():
    record = run_record(scores={"en": with_majority(0.517)})
    assert collapse(record) == "accuracy in en is 51.7 % where always answering NEUTRAL gives 56.0 %"
    assert collapse(run_record(scores={"en": score(0.517)})) is None  # an older record, with chance only


def test_collapse_margin_shrinks_near_100_percent():
    assert collapse(run_record(scores={"en": with_majority(0.94, n_rows=900)})) is None
    assert collapse(run_record(scores={"en": with_majority(0.905, n_rows=900)})) is not None
    balanced = [with_majority(accuracy, n_rows=333) for accuracy in (0.38, 0.39)]
    assert [collapse(run_record(scores={"en": one})) is None for one in balanced] == [False, True]  # as against chance


# ── one label too often ──


def told(shares: tuple[int, int, int], gold: tuple[int, int, int] = (334, 333, 333)) -> Predicted:
    """A thousand predictions with these counts of each label."""
    return Predicted(np.arange(1000), np.repeat([0, 1, 2], gold), np.repeat([0, 1, 2], shares), 3)


def test_drift_to_one_label_is_reported_with_numbers():
    predicted = {"en": told((275, 450, 275)), "de": told((270, 500, 230)), "ur": told((190, 620, 190))}
    found = drift_to_one_label(predicted, LABELS, "en")
    assert (found.name, found.severity) == ("drift to one label", "warning")
    assert found.evidence == (
        "share of predictions that are neutral: ur 62.0 %, against en 45.0 %; of the gold labels: 33.3 %"
    )


@pytest.mark.parametrize(
    "predicted",
    [
        {"en": told((100, 800, 100)), "ur": told((150, 700, 150))},  # English has it too
        {"en": told((334, 333, 333)), "ur": told((150, 700, 150), gold=(150, 700, 150))},  # and so have the gold labels
        {"en": told((334, 333, 333)), "ur": told((0, 1000, 0))},  # one label throughout, which is another finding
    ],
    ids=["in the training language too", "right", "throughout"],
)
def test_other_imbalances_are_not_drift(predicted):
    assert drift_to_one_label(predicted, LABELS, "en") is None


# ── labels ──


def test_shuffled_test_labels_are_placeholder_labels(world, tmp_path):
    rows = toy.toy_rows()
    for language in toy.LANGUAGES:
        labels = [label for _, _, label in rows["test", language]]
        random.Random(0).shuffle(labels)
        rows["test", language] = [(p, h, y) for (p, h, _), y in zip(rows["test", language], labels, strict=True)]
    record = world.run(tmp_path, data=tiny.write_hub_layout(tmp_path / "data", rows))
    found = only(world.diagnose(record, tmp_path))
    assert (found.name, found.severity) == ("placeholder labels", "error")
    assert "development data is 100.0 %" in found.evidence or "development data is 9" in found.evidence
    assert "XNLI-1.0" in found.fix


def test_constant_gold_labels_are_reported():
    same = Predicted(np.arange(30), np.full(30, 1), np.arange(30) % 3, 3)
    mixed = Predicted(np.arange(30), np.arange(30) % 3, np.arange(30) % 3, 3)
    found = placeholder_labels({"en": same, "es": mixed, "th": same})
    assert (found.name, found.evidence) == ("placeholder labels", "every gold label is the same in en, th")


def test_samples_of_sorted_files_have_all_labels(world, fine_tuned, tmp_path):
    """The first rows would all have the same label."""
    rows = toy.toy_rows()
    for language in ("en", "es"):
        rows["test", language].sort(key=lambda row: row[2])
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False, data=data, max_eval=30)
    assert "placeholder labels" not in names(world.diagnose(record, tmp_path))
    assert all(score.majority.n_rows < score.n_rows / 2 for score in record.scores.values())


@pytest.mark.parametrize("order", [order for order in permutations(LABELS) if order != LABELS], ids="-".join)
def test_every_wrong_label_order_is_found_with_its_fix(world, fine_tuned, tmp_path, order):
    config = json.loads((fine_tuned / "config.json").read_text())
    config["id2label"] = {str(column): label for column, label in enumerate(order)}
    config["label2id"] = {label: column for column, label in enumerate(order)}
    (fine_tuned / "config.json").write_text(json.dumps(config))
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False)
    found = only(world.diagnose(record, tmp_path))
    assert found.name == "permuted labels"
    for trained_as, called in zip(LABELS, order, strict=True):
        assert (f"{called} as {trained_as}" in found.evidence.replace(" is read as ", " as ")) == (called != trained_as)
    assert "id2label" in found.fix


def test_wrong_label_order_in_one_language_is_found(world, fine_tuned, tmp_path):
    """As in a copy that numbers its labels in another order and does not name them."""
    rows = toy.toy_rows()
    renamed = dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))
    rows["test", "zh"] = [(p, h, renamed[y]) for p, h, y in rows["test", "zh"]]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False, data=data)
    findings = world.diagnose(record, tmp_path)
    assert names(findings) == ["permuted labels", "parallel labels"]
    assert "accuracy in zh is" in findings[0].evidence
    assert "rows that differ elsewhere: zh 100.0 %" in findings[1].evidence


# ── training ──


def test_collapsed_training_is_reported(world, tmp_path):
    record = world.run(tmp_path, overrides={"learning_rate": 1.0})
    found = only(world.diagnose(record, tmp_path))
    assert found.name == "collapsed training"
    assert "accuracy in en is 33.3 % where chance is 33.3 %" in found.evidence and "ln 3 is 1.10" in found.evidence
    assert "learning rate" in found.fix


def test_short_training_is_not_called_a_collapse(world, tmp_path):
    recipe = tmp_path / "short.toml"
    recipe.write_text((world.folder / "toy.toml").read_text().replace("epochs = 6", "max_steps = 3"))
    record = world.run(tmp_path, recipe=str(recipe))
    found = only(world.diagnose(record, tmp_path))
    assert found.name == "too few steps"
    assert "3 steps of 16 pairs cover 13.3 % of 360 training pairs" in found.evidence
    [point] = record.training.selection_curve
    on_test, on_development = 100 * record.scores["en"].value, 100 * point.value
    assert found.evidence.endswith(
        f"accuracy in en is {on_test:.1f} % on the test rows and {on_development:.1f} % on the development rows"
    )


class Steps(Callback):
    def __init__(self) -> None:
        self.done = 0

    def on_step(self, step, loss, learning_rate):
        self.done = step


def test_non_finite_loss_is_named_with_its_step(world, tmp_path):
    """As when a flipped bit breaks a piece that is in one row only."""
    rows, steps = toy.toy_rows(), Steps()
    premise, hypothesis, label = rows["train", "en"][200]
    rows["train", "en"][200] = (premise, f"{hypothesis} q", label)
    model, tokenizer = AutoModel.from_pretrained(world.model), AutoTokenizer.from_pretrained(world.model)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids("q")] = float("nan")
    for each in (model, tokenizer):
        each.save_pretrained(tmp_path / "broken")
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path / "results", models=[str(tmp_path / "broken")], data=data, callbacks=steps)
    found = only(world.diagnose(record, tmp_path / "results"))
    assert (found.name, record.status) == ("training broke down", "failed")
    assert 0 < steps.done < 23 and found.evidence.startswith(f"the loss became nan at step {steps.done + 1};")


# ── languages ──


def test_chance_outside_latin_script_is_reported(world, tmp_path):
    data = tiny.write_hub_layout(tmp_path / "data", toy.toy_rows(own_words=("ar", "zh")))
    record = world.run(tmp_path, data=data)
    found = only(world.diagnose(record, tmp_path))
    assert found.name == "chance outside Latin script"
    assert "es " in found.evidence.split("against")[1] and "xeval doctor" in found.fix


def test_english_only_encoder_has_no_transfer(world, tmp_path):
    data = tiny.write_hub_layout(tmp_path / "data", toy.toy_rows(own_words=("es", "ar", "zh")))
    record = world.run(tmp_path, data=data)
    assert names(world.diagnose(record, tmp_path)) == ["no transfer"]


def test_unknown_words_yield_one_label_throughout(world, fine_tuned, tmp_path):
    rows = toy.toy_rows()
    signs = [chr(0x2600 + number) for number in range(toy.COUNTS["test"])]  # in no vocabulary
    rows["test", "zh"] = [
        (sign, sign * 2, label) for sign, (_, _, label) in zip(signs, rows["test", "zh"], strict=True)
    ]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False, data=data, languages=["en", "zh"])
    found = {finding.name: finding for finding in world.diagnose(record, tmp_path)}
    assert found.keys() == {"unknown pieces", "one label throughout"}
    assert found["unknown pieces"].evidence == "zh 100.0 % of pieces"
    assert found["one label throughout"].evidence.endswith(": zh 100.0 %")


def test_heavy_truncation_is_reported_by_language(world, fine_tuned, tmp_path):
    rows = toy.toy_rows()
    rows["test", "ar"][:36] = [(f"{p} {p} {p} {p}", h, label) for p, h, label in rows["test", "ar"][:36]]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False, data=data)
    found = only(world.diagnose(record, tmp_path))
    assert (found.name, found.severity) == ("truncated pairs", "warning")
    assert found.evidence == "ar 30.0 % of pairs are cut off at 24 pieces"
    assert "--max-length" in found.fix
    assert [warned.name for warned in record.preflight] == ["truncated pairs"]  # also reported before the run


# ── rows ──


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (list(range(0, 120, 2)), "es 60 predictions for 120 rows (60 rows missing, 0 counted again)"),
        ([*range(120), *range(8)], "es 128 predictions for 120 rows (0 rows missing, 8 counted again)"),
    ],
    ids=["one process's share", "padded duplicates"],
)
def test_missing_and_repeated_rows_are_reported(world, healthy, tmp_path, kept, said):
    """As after an evaluation in several processes."""
    record, results = healthy
    shutil.copytree(results, tmp_path / "results")
    folder = toy.folder_of(tmp_path / "results", record)
    path = folder / "predictions" / "es.parquet"
    pq.write_table(pq.read_table(path).take(kept), path)
    score = record.scores["es"].model_copy(update={"predictions_sha256": file_sha256(path), "n_rows": len(kept)})
    save_record(folder, record.model_copy(update={"scores": record.scores | {"es": score}}))
    found = only(world.diagnose(load_record(folder), tmp_path / "results"))
    assert (found.name, found.evidence) == ("missing or repeated rows", said)


def test_damaged_predictions_are_reported(world, healthy, tmp_path):
    record, results = healthy
    shutil.copytree(results, tmp_path / "results")
    path = toy.folder_of(tmp_path / "results", record) / "predictions" / "es.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    found = only(world.diagnose(record, tmp_path / "results"))
    assert found.name == "damaged predictions" and found.evidence.startswith("es: ")


# ── against a published row ──


def published(record: RunRecord, points_above: float, selection: str, **more) -> Reference:
    """A table whose row for the record's model is `points_above` above the record."""
    row = ReferenceRow(
        name="Published",
        model="org/toy",
        how="computed",
        recipe="hf-2019",
        selection=selection,
        cells={language: 100 * score.value + points_above for language, score in record.scores.items()},
        **more,
    )
    shown = {"name": "t", "title": "t", "task": record.task, "split": "test", "source_url": "https://example.org"}
    return Reference(**shown, languages=tuple(record.scores), rows=(row,))


@pytest.fixture
def from_the_hub(world, fine_tuned, tmp_path):
    """The record of a model that is in a published table, with some wrong predictions."""
    rows = toy.toy_rows()
    for n_wrong, language in enumerate(toy.LANGUAGES, start=15):
        rows["test", language][:n_wrong] = [(p, h, "neutral") for p, h, _ in rows["test", language][:n_wrong]]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False, data=data)
    return record.model_copy(update={"model": record.model.model_copy(update={"id": "org/toy", "origin": "hub"})})


JOINT = next(row.selection for row in get_reference("conneau-2020").rows if row.name.startswith("XLM-R"))


@pytest.mark.parametrize(
    ("points_above", "selection", "expected"),
    [
        (1.5, JOINT, ["another selection rule"]),
        (1.5, "best English development accuracy", ["low everywhere"]),
        (6.0, JOINT, ["low everywhere"]),
        (0.2, JOINT, []),
        (-2.0, JOINT, []),
    ],
)
def test_findings_for_a_run_below_its_published_row(from_the_hub, world, tmp_path, points_above, selection, expected):
    reference = published(from_the_hub, points_above, selection)
    folder = next(tmp_path.glob("*/*/*/record.json")).parent
    found = diagnose_run(StoredRun(folder, from_the_hub), get_task(str(world.task_file)), reference)
    assert names(found) == expected
    if expected == ["another selection rule"]:
        assert JOINT in found[0].evidence and "1.5 points below Published" in found[0].evidence


@pytest.mark.parametrize(("spread", "expected"), [(3.0, []), (1.0, ["low everywhere"])])
def test_published_seed_spread_widens_the_margin(from_the_hub, world, tmp_path, spread, expected):
    reference = published(from_the_hub, 5.0, "last", spread=dict.fromkeys(from_the_hub.scores, spread), n_seeds=5)
    folder = next(tmp_path.glob("*/*/*/record.json")).parent
    assert names(diagnose_run(StoredRun(folder, from_the_hub), get_task(str(world.task_file)), reference)) == expected


def test_lower_casing_makes_scores_low_everywhere(world, healthy, fine_tuned, tmp_path):
    toy.toy_tokenizer(do_lower_case=True).save_pretrained(fine_tuned)
    record = world.run(tmp_path, models=[str(fine_tuned)], train=False)
    folder = toy.folder_of(tmp_path, record)
    record = record.model_copy(update={"model": record.model.model_copy(update={"id": "org/toy", "origin": "hub"})})
    losses = [healthy[0].scores[language].value - score.value for language, score in record.scores.items()]
    assert np.min(losses) > 0.02 and np.max(losses) < 0.4
    reference = published(healthy[0], 0.0, "last checkpoint")
    found = diagnose_run(StoredRun(folder, record), get_task(str(world.task_file)), reference)
    assert {"low everywhere", "capital letters"} <= set(names(found))
    low = next(finding for finding in found if finding.name == "low everywhere")
    assert low.fix.startswith("First fix the tokenizer: the tokenizer lower-cases")


def test_collapse_names_the_metric_in_words():
    record = run_record(kind="tagging", metric="span_f1", chance=0.0, scores={"en": score(0.0)})
    assert collapse(record) == "span F1 in en is 0.0 % where chance is 0.0 %"


def test_short_training_on_another_language_is_reported(tmp_path):
    few = {"max_train": 64, "overrides": {"max_steps": 2}}
    [record] = run("xnli-mini", "mini-mbert", train_language="de", languages="de", results=tmp_path, max_eval=30, **few)
    found = too_few_steps(record)
    assert found is not None and "2 steps of 32 pairs cover 0.7 % of 9,000 training pairs once" in found.evidence
    assert "accuracy in de is" in found.evidence


@pytest.mark.parametrize(("dev", "is_found"), [(0.45, False), (0.47, True)])
def test_chance_between_two_splits_is_no_placeholder(dev, is_found):
    """37.3 % of 150 test rows and 45 % of the development rows may come from the same model and good labels."""
    training = run_record().training.model_copy(update={"selection_curve": [SelectionPoint(step=4, value=dev)]})
    record = run_record(scores={"en": score(0.373, n_rows=150, ci95=(0.300, 0.453))}, training=training)
    assert (labels_out_of_line(record) is not None) == is_found


@pytest.mark.parametrize("table", ["xlm-readme", "minilm-xnli"])
def test_rows_selected_on_target_languages_say_so(table):
    """XLM's README: the best of a sweep for each language. MiniLM's: one checkpoint on all development sets."""
    for row in get_reference(table).rows:
        ours = {language: score(cell / 100 - 0.015) for language, cell in row.cells.items()}
        found = other_selection(run_record(scores=ours), row)
        assert found is not None and row.selection in found.evidence


def test_selection_of_predictions_that_others_computed_is_not_known():
    [row] = [row for row in get_reference("conneau-2020").rows if row.name == "mBERT cased"]
    ours = {language: score(cell / 100 - 0.015) for language, cell in row.cells.items()}
    for recipe, said in (
        (ELSEWHERE, "ours is: not known, since others computed the predictions"),
        (NO_TRAINING, "ours is: none, the checkpoint is evaluated as it is"),
    ):
        given = RecipeRecord(name=recipe, values={}, overrides={})
        assert said in other_selection(run_record(scores=ours, recipe=given, training=None), row).evidence


def test_rows_missing_in_all_languages_are_listed_once():
    """The rows of one process are missing in all 205 languages of SIB-200."""
    found = missing_or_repeated_rows(
        run_record(limits=Limits()),
        {language: Predicted(np.arange(n)) for language, n in (("de", 60), ("en", 60), ("es", 90), ("fr", 120))},
        dict.fromkeys(("de", "en", "es", "fr"), 120),
    )
    assert found.evidence == (
        "60 predictions for 120 rows (60 rows missing, 0 counted again) in each of 2 languages (de en);"
        " es 90 predictions for 120 rows (30 rows missing, 0 counted again)"
    )


@pytest.mark.parametrize(
    ("labels", "is_found"), [(["entailment", "neutral", "contradiction"], True), (["yes", "maybe", "no"], False)]
)
def test_rows_of_a_task_with_another_tasks_name(tmp_path, labels, is_found):
    gold = np.arange(300) % 3
    sha256 = save_predictions(tmp_path, "de", np.eye(3)[np.roll(gold, 40)], gold)
    scores = {"de": score(1 / 3, 300, predictions_sha256=sha256)}
    record = run_record(task="xnli", labels=labels, scores=scores, limits=Limits())
    [found] = findings_by_task([StoredRun(tmp_path, record)]).values()
    assert any("missing or repeated rows" in finding.name for finding in found) == is_found
