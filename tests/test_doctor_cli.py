"""`xeval doctor` and `xeval diagnose`, and how `xeval run` and `xeval report` show faults, as a user sees them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers import tiny, toy
from xeval.support.cache import weights_folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> toy.Toy:
    return toy.write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def command(command, monkeypatch, tmp_path):
    """`command(*words)` runs xeval in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return command


def words(world: toy.Toy, *others: object) -> list[object]:
    device = ["--device", "cpu", "--dtype", "float32"]
    return [world.task_file, "--model", world.model, "--data", world.data, *device, *others]


def test_doctor_prints_each_check_and_exits_with_0(command, world):
    code, out, err = command("doctor", *words(world, "--recipe", world.folder / "toy.toml"))
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert len(lines) == 18 and all("✓" in line for line in lines)
    assert {line.partition(":")[0] for line in lines} == {"machine", "data", "toy-encoder"}


def test_doctor_checks_the_chosen_test_split(command, world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "en"] = [(p, h, "neutral") for p, h, _ in rows["test", "en"]]
    rows["selection", "es"] = rows["test", "es"]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    options = words(world, "--data", data, "-l", "en", "--recipe", "xtreme-2020")
    assert command("doctor", *options)[0] == 1
    code, out, _ = command("doctor", *options, "--test-split", "dev")
    assert code == 0 and "90 to test on\n" in out
    assert "! rows to choose on: evaluated on the selection split, whose en rows the checkpoint is chosen on" in out
    code, out, err = command("doctor", *options, "--test-split", "nowhere")
    assert code in (1, 2) and "nowhere" in out + err


def test_doctor_without_a_task_checks_only_the_machine(command):
    code, out, _ = command("doctor", "--device", "cpu")
    assert code == 0 and out.startswith("machine: ✓ device: cpu") and out.count("\n") == 1


def test_doctor_warnings_name_a_fix_and_exit_with_0(command, world, tmp_path):
    model = Path(shutil.copytree(world.model, tmp_path / "lowered"))
    toy.toy_tokenizer(do_lower_case=True).save_pretrained(model)
    code, out, _ = command("doctor", *words(world, "--model", model))
    (line,) = [line for line in out.splitlines() if "capital letters" in line and line.startswith("lowered")]
    assert code == 0
    assert line.startswith("lowered: ! capital letters: ") and "Set do_lower_case to false" in line


def test_doctor_errors_exit_with_1(command, world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "es"] = [(p, h, "neutral") for p, h, _ in rows["test", "es"]]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    code, out, err = command("doctor", *words(world, "--data", data))
    assert (code, err) == (1, "")
    assert "data: ✗ test rows, es: " in out and "placeholder" in out


@pytest.mark.parametrize(
    ("mistaken", "said"),
    [
        (("doctor", "xnl"), "did you mean 'xnli'?"),
        (("doctor", "--model", "mbert"), "wanted a task as well"),
        (("doctor", "--recipe", "hf-2019"), "--recipe: wanted a task as well"),
        (("doctor", "--language", "es"), "--language: wanted a task as well"),
        (("doctor", "--test-split", "dev"), "--test-split: wanted a task as well"),
        (("doctor", "--no-train"), "--no-train: wanted a task as well"),
        (("doctor", "xnli", "--data", "nowhere"), "nowhere: wanted a folder"),
        (("doctor", "xnli", "--model", "./nowhere"), "wanted a folder with config.json"),
        (("doctor", "--device", "abacus"), "'abacus' cannot be used"),
        (("diagnose", "--results", "nowhere"), "no results there yet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_prints_one_line_and_exits_with_2(command, mistaken, said):
    code, out, err = command(*mistaken)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_faults_are_shown_by_run_report_and_diagnose(command, world, tmp_path):
    """A trained checkpoint is evaluated with its label names mixed up and its text lower-cased."""
    recipe = ["--recipe", world.folder / "toy.toml"]
    code, out, err = command("run", *words(world, *recipe, "--results", "healthy"))
    assert (code, "✗" in out, "✗" in err, "!" in err) == (0, False, False, False)
    assert command("diagnose", "--results", "healthy")[:2] == (0, "nothing wrong found in 1 run\n")
    assert "## Findings" not in command("report", "--results", "healthy")[1]

    record = json.loads(next(Path("healthy").glob("*/*/*/record.json")).read_text())
    model = Path(shutil.copytree(weights_folder(record["identity"]), tmp_path / "misnamed"))
    toy.toy_tokenizer(do_lower_case=True).save_pretrained(model)
    config = json.loads((model / "config.json").read_text())
    config["id2label"] = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    (model / "config.json").write_text(json.dumps(config))
    arguments = [world.task_file, "--model", model, "--data", world.data, *recipe, "--no-train"]
    code, out, err = command("run", *arguments, "--device", "cpu", "--dtype", "float32", "--results", "misnamed-run")
    assert code == 0
    assert "misnamed: ! capital letters: " in err  # before the run
    (line,) = [line for line in out.splitlines() if "permuted labels" in line]  # and after it
    assert line.startswith("✗ misnamed no-train: permuted labels: accuracy is ")
    assert line.endswith("in the order that the head was trained with, and evaluate again.")

    findings = command("report", "--results", "misnamed-run")[1].partition("## Findings\n")[2]
    assert "- ✗ misnamed no-train: permuted labels: " in findings and "capital letters" in findings
    code, out, err = command("diagnose", "--results", "misnamed-run")
    assert (code, out.splitlines()[0].partition(": accuracy")[0]) == (1, line.partition(": accuracy")[0])


def test_preflight_error_stops_before_training(command, world, tmp_path):
    rows = toy.toy_rows()
    rows["train", "en"][:120] = rows["test", "en"]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    code, out, err = command("run", *words(world, "--data", data, "--quiet"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("xeval: toy-encoder: overlap: 100.0 % of 120 en test pairs are among those to train on.")
    assert not Path("results").exists()
