"""The baseline file: what it contains, that it reads back the same, and which files are refused with what message."""

import re
import tomllib

import pytest
from test_gate import BASELINE, a_seed, as_it_is, bless, check, data, seeds

from tests.helpers.sample_record import INVOCATION, SHA, run_record, score
from xeval.judging.gate import baseline
from xeval.judging.gate.baseline import Baseline
from xeval.results.records import Limits, ModelRecord, RecipeRecord, Timing
from xeval.support.errors import DefinitionError, StoreError

HOSTILE = 'x"]\n[[configurations]]\r\x1b[31m\x00\x7f # ::error::\\u0041 <b> ไทย 🐈'


def write(tmp_path, text: str):
    path = tmp_path / "baseline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_baseline_shows_what_people_review():
    table = tomllib.loads(baseline.to_toml(BASELINE))
    [found] = table["configurations"]
    assert (found["task"], found["model"], found["seeds"]) == ("cats", "org/m", [1, 2, 3])
    assert found["languages"]["th"] == {
        "accuracy_percent": 60.0,
        "seed_sd_points": 0.36,  # the root of (0.4² + 0.1² + 0.3²) / 2
        "n_examples": 5000,
        "n_correct": [2980, 3005, 3015],
    }
    assert (found["mean_percent"], found["mean_seed_sd_points"]) == (70.0, 0.36)
    assert found["settings"] == {"recipe": "r", "learning_rate": 5e-5, "epochs": 2.0, "dtype": "float32"}
    assert found["throughput_pairs_per_s"]["train"] == [99.01, 98.04, 97.09]
    assert found["hardware"] == {"device": "cpu", "cpu": "x", "threads": 2}
    assert found["data_sha256"]["test"]["th"] == found["data_sha256"]["train"]["en"] == SHA


def test_each_language_is_one_line_of_the_file():
    # so that a review shows which language changed
    [line] = [line for line in baseline.to_toml(BASELINE).splitlines() if line.startswith("th = {")]
    assert "60.0" in line and "2980, 3005, 3015" in line


@pytest.mark.parametrize("records", [seeds("a"), [as_it_is(SHA, en=80.0, es=70.0)]], ids=["trained", "as it is"])
def test_baseline_reads_back_as_written(tmp_path, records):
    blessed = bless(records)
    baseline.write(tmp_path / "new" / "b.toml", blessed)
    assert baseline.read(tmp_path / "new" / "b.toml") == blessed


def test_hostile_names_read_back_as_written(tmp_path):
    model = ModelRecord(id=HOSTILE, origin="local", revision=None, sha256=SHA, n_parameters=1, architecture="bert")
    recipe = RecipeRecord(name="r", values={"epochs": 2.0, HOSTILE: HOSTILE}, overrides={HOSTILE: HOSTILE})
    runs = seeds("a", model=model, recipe=recipe)
    blessed = bless(runs)
    baseline.write(tmp_path / "b.toml", blessed)
    back = baseline.read(tmp_path / "b.toml")
    assert back == blessed and back.configurations[0].model == HOSTILE
    assert back.configurations[0].name.isprintable()
    assert check(back, runs).passed


def test_one_file_holds_several_configurations(tmp_path):
    other = RecipeRecord(name="r", values={"epochs": 3.0}, overrides={"epochs": 3.0})
    blessed = bless([*seeds("a"), *seeds("a", recipe=other)])
    assert [configuration.name for configuration in blessed.configurations] == [
        "cats: org/m, r, epochs 2.0, float32",
        "cats: org/m, r, epochs 3.0, float32",
    ]


def test_throughput_of_evaluation_is_over_all_languages():
    timing = {
        f"evaluate/{code}": Timing(wall_s=wall_s, rows=100, invocation=INVOCATION)
        for code, wall_s in {"en": 1, "es": 3, "th": 6}.items()
    }
    [found] = bless(seeds("a", timing=timing)).configurations
    assert found.throughput_pairs_per_s == {"evaluate": (30.0, 30.0, 30.0)}


THREE = seeds("a")
NOT_ALL = THREE[0].model_copy(update={"scores": {"en": score(0.8)}})


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (THREE[:1], "wanted at least 2 seeds, got one"),
        ([THREE[0].model_copy(update={"status": "incomplete"}), *THREE[1:]], "seed 1: the run is incomplete"),
        ([THREE[0].model_copy(update={"status": "failed"}), *THREE[1:]], "seed 1: the run is failed"),
        ([THREE[0].model_copy(update={"scores": {}}), *THREE[1:]], "seed 1: the record has no scores"),
        ([a_seed(1, en=34, es=34, th=34), *THREE[1:]], "seed 1: the training collapsed: accuracy in en is 34.0 %"),
        ([NOT_ALL, *THREE[1:]], "languages or data differ from those of seed 1"),
        ([*THREE[:2], a_seed(3, en=80, es=70, th=60, data=data(train="c" * 64))], "use a separate results folder"),
        ([*THREE, a_seed(3, en=80, es=70, th=60)], "seed 3 of org/m, r, epochs 2.0 is there twice"),
    ],
)
def test_unfit_runs_are_not_blessed(records, said):
    with pytest.raises(StoreError, match=re.escape(said)) as refused:
        bless(records)
    assert "\n" not in str(refused.value)


def test_blessed_runs_on_part_of_the_rows_say_so():
    [found] = bless(seeds("a", limits=Limits(max_train=100, max_eval=50))).configurations
    assert found.name == "cats: org/m, r, epochs 2.0, max train 100, max eval 50, float32"


GOOD = baseline.to_toml(BASELINE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format: Input should be 1, got 2"),
        ("format = 1", "formt = 1", "formt: Extra inputs are not permitted"),
        ("2980, 3005, 3015", "2980, 3005, 3019", "accuracy_percent is 60.0, but n_correct gives 60.03"),
        ("2980, 3005, 3015", "2980, 3005, 5015", "n_correct exceeds n_examples"),
        ("2980, 3005, 3015", "2985, 3015", "th.n_correct: wanted one number for each of 3 seeds"),
        ("2980, 3005, 3015", '"2980", 3005, 3015', "n_correct"),
        ("seeds = [1, 2, 3]", "seeds = [1, 3, 2]", "seeds: wanted each once, in ascending order"),
        ("seeds = [1, 2, 3]", "seeds = [1, 2, 2]", "seeds: wanted each once, in ascending order"),
        ("trained = true", "trained = false", "weights_sha256: wanted one hash for each seed of a training run"),
        ("mean_percent = 70.0", "mean_percent = 71.0", "mean_percent is 71.0, but the languages give 70.00"),
        ("mean_percent = 70.0", "mean_percent = 700.0", "mean_percent"),
        ("mean_percent = 70.0", "mean_percent = nan", "mean_percent"),
        ('task = "cats"', "task = 1979-05-27", "dates and times are not allowed"),
        ('task = "cats"', 'task = "cats', "not readable as TOML"),
    ],
)
def test_invalid_file_is_refused_with_name_and_place(tmp_path, old, new, said):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(DefinitionError, match=re.escape(said)) as refused:
        baseline.read(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


def test_repeated_configuration_is_refused(tmp_path):
    twice = GOOD + "\n" + GOOD[GOOD.index("[[configurations]]") :]
    with pytest.raises(DefinitionError, match="two configurations have the same task, model and settings"):
        baseline.read(write(tmp_path, twice))


def test_missing_file_is_refused(tmp_path):
    path = tmp_path / "nowhere.toml"
    with pytest.raises(DefinitionError) as refused:
        baseline.read(path)
    assert str(refused.value) == f"{path}: cannot read this baseline file: No such file or directory"


def test_epochs_2_and_2_0_are_the_same_setting(tmp_path):
    path = write(tmp_path, GOOD.replace("epochs = 2.0", "epochs = 2"))
    assert check(baseline.read(path), seeds("b")).passed


def test_sample_record_can_be_blessed():
    """The record that other tests use, unchanged: everything that a run writes must be understood here."""
    first = run_record(seed=1, scores={"de": score(0.6)}, training_language="de")
    found = bless([first, first.model_copy(update={"seed": 2})])
    assert isinstance(found, Baseline)


# ── other metrics than accuracy ──


def by_f1(runs):
    """Return the same scores as the F1 of some kind of task, whose totals count no correct rows."""
    return [
        record.model_copy(
            update={
                "kind": "tags",
                "metric": "span_f1",
                "scores": {
                    language: cell.model_copy(update={"totals": {"tp": 7, "fp": 2, "fn": 1}})
                    for language, cell in record.scores.items()
                },
            }
        )
        for record in runs
    ]


def test_metric_without_counts_is_blessed_by_its_values():
    runs = by_f1(seeds())
    made = bless(runs)
    table = tomllib.loads(baseline.to_toml(made))
    [found] = table["configurations"]
    cell = found["languages"]["th"]
    assert (found["metric"], cell["value_percent"]) == ("span_f1", 60.0)
    assert cell["values"] == [record.scores["th"].value for record in runs]
    assert {"accuracy_percent", "n_correct"} & cell.keys() == set()


def test_gate_compares_values_that_were_read_back(tmp_path):
    made = bless(by_f1(seeds()))
    assert baseline.read(write(tmp_path, baseline.to_toml(made))) == made
    assert "regression" not in {finding.kind for finding in check(made, by_f1(seeds())).findings}
    worse = by_f1(seeds(weights="c", moves={"th": -20.0}))
    found = [finding for finding in check(made, worse).findings if finding.kind == "regression"]
    assert any("th fell by 20.0 points" in finding.sentence for finding in found)


def test_another_metric_makes_another_configuration():
    kinds = {finding.kind for finding in check(bless(seeds()), by_f1(seeds())).findings}
    assert "regression" not in kinds and kinds & {"missing configuration", "other settings"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n_correct = [", "values = ["),
        ("accuracy_percent = 60.0", "value_percent = 60.0"),
        ("n_examples = 5000", "n_examples = 5000, values = [0.5, 0.5, 0.5]"),
    ],
)
def test_cell_with_mixed_counts_and_values_is_refused(tmp_path, old, new):
    text = baseline.to_toml(BASELINE)
    assert old in text
    with pytest.raises(
        DefinitionError, match=r"wanted accuracy_percent and n_correct, or value_percent and values|less"
    ):
        baseline.read(write(tmp_path, text.replace(old, new)))


def test_comments_of_a_baseline_name_keys_that_it_has():
    for made in (BASELINE, bless(by_f1(seeds()))):
        text = baseline.to_toml(made)
        cell = tomllib.loads(text)["configurations"][0]["languages"]["th"]
        comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
        lists = {name for name, value in cell.items() if isinstance(value, list)}
        assert lists | {name for name in cell if name.endswith("_percent")} <= set(re.findall(r"\w+", comments))
        assert "ccuracies" not in comments


def test_refusal_names_the_configuration_whole():
    """The folder has another one with the same model and recipe."""
    changed = RecipeRecord(name="r", values={"epochs": 3.0}, overrides={"epochs": 3.0})
    with pytest.raises(StoreError, match=r"^cats: org/m, r, epochs 3.0, float32: wanted at least 2 seeds, got one"):
        bless([*seeds("a"), seeds("a", recipe=changed)[0]])
