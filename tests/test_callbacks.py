"""Callbacks hear of every event in order, and no matter what they do, the run is identical to the bit."""

import json
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import xeval
from tests.helpers import tiny
from xeval.results.store import load_runs
from xeval.support.progress import Silent

METHODS = ("on_begin", "on_step", "on_selection", "on_score", "on_end")


class Recording(xeval.Callback):
    def __init__(self) -> None:
        self.told: list[tuple] = []

    def on_begin(self, run):
        self.told.append(("on_begin", run))

    def on_step(self, step, loss, learning_rate):
        self.told.append(("on_step", step, loss, learning_rate))

    def on_selection(self, step, score):
        self.told.append(("on_selection", step, score))

    def on_score(self, language, score):
        self.told.append(("on_score", language, score))

    def on_end(self, record):
        self.told.append(("on_end", record))

    def values(self, method: str) -> list[tuple]:
        return [values for name, *values in self.told if name == method]


class Listening(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def run(mini, checkpoint_of, tmp_path):
    """`run(*callbacks)` trains into a separate folder, and returns the record and the printed lines."""
    made = []

    def run(*callbacks, folder: str | None = None, **options):
        listening, name = Listening(), folder or f"results{len(made)}"
        made.append(name)
        given = {"data": mini.data, "overrides": {"epochs": 2.0}, "dtype": "float32", "device": "cpu"} | options
        [record, *_] = xeval.run(
            str(mini.task_file),
            str(checkpoint_of("bert")),
            results=tmp_path / name,
            reporter=listening,
            callbacks=callbacks,
            **given,
        )
        return record, listening.lines

    return run


def test_callbacks_hear_of_every_event_in_order(run):
    recording = Recording()
    record, _ = run(recording)
    names = [name for name, *_ in recording.told]
    n_steps, n_selections = record.training.n_steps, len(record.training.selection_curve)
    assert sorted(names, key=METHODS.index) == [
        "on_begin",
        *["on_step"] * n_steps,
        *["on_selection"] * n_selections,
        *["on_score"] * 3,
        "on_end",
    ]
    assert (names[0], names[-4:], names[-5]) == ("on_begin", ["on_score"] * 3 + ["on_end"], "on_selection")
    steps = recording.values("on_step")
    assert [step for step, *_ in steps] == list(range(1, n_steps + 1))
    assert [(step, loss) for step, loss, _ in steps] == [(step, loss) for step, loss in record.training.loss_curve]
    curve = [(point.step, point.value) for point in record.training.selection_curve]
    assert [tuple(values) for values in recording.values("on_selection")] == curve
    assert dict(recording.values("on_score")) == record.scores
    assert recording.values("on_end") == [[record]]
    [[begun]] = recording.values("on_begin")
    assert (begun.task, begun.model, begun.seed, begun.identity) == (
        record.task,
        record.model.id,
        record.seed,
        record.identity,
    )
    assert begun.values["epochs"] == 2.0 and json.dumps(begun.values) and begun.folder.is_dir()


@pytest.mark.parametrize("values", [{"warmup_share": 0.25}, {"warmup_steps": 1}, {"warmup_share": 0.0}])
def test_learning_rate_rises_and_falls_linearly(run, values):
    recording = Recording()
    record, _ = run(recording, overrides={"epochs": 8.0, "learning_rate": 3e-4} | values)
    n = record.training.n_steps
    n_warmup = values.get("warmup_steps", math.ceil(values.get("warmup_share", 0.0) * n))
    rising = [3e-4 * step / n_warmup for step in range(n_warmup)]
    falling = [3e-4 * (n - step) / (n - n_warmup) for step in range(n_warmup, n)]
    assert n > 4 and [rate for *_, rate in recording.values("on_step")] == pytest.approx(rising + falling)


def test_finished_run_calls_no_callbacks(run):
    run(folder="one")
    recording = Recording()
    run(recording, folder="one")
    assert recording.told == []


def test_run_without_training_reports_scores_only(run, mini, checkpoint_of, tmp_path):
    recording = Recording()
    options = {"data": mini.data, "results": tmp_path, "train": False, "callbacks": recording}
    xeval.run(str(mini.task_file), str(checkpoint_of("bert", tiny.LABELS)), **options)
    assert [name for name, *_ in recording.told] == ["on_begin", *["on_score"] * 3, "on_end"]
    assert recording.values("on_begin")[0][0].seed is None


# ── callbacks cannot harm a run ──


def failing(method: str) -> xeval.Callback:
    def fail(*values):
        raise ConnectionError("the service\nis down")

    callback = Recording()
    setattr(callback, method, fail)
    return callback


@pytest.mark.parametrize("method", METHODS)
def test_failing_callback_is_dropped_and_changes_nothing(run, method):
    quiet, _ = run()
    bad, good = failing(method), Recording()
    noisy, said = run(bad, good)
    assert noisy.training.weights_sha256 == quiet.training.weights_sha256
    assert noisy.scores.keys() == quiet.scores.keys() and noisy.status == "complete"
    [line] = [line for line in said if "failed" in line]
    assert f"Recording.{method} failed (ConnectionError: the service is down); the run continues" in line
    names = [name for name, *_ in bad.told]
    later = METHODS[METHODS.index(method) + 1 :]
    assert [name for name in names if name in later] == (["on_end"] if method not in ("on_begin", "on_end") else [])
    assert [name for name, *_ in good.told][-1] == "on_end" and len(good.values("on_score")) == 3


def test_dropped_callback_hears_of_the_next_run(run):
    callback = failing("on_step")
    run(callback, seeds=[1, 2])
    assert [begun.seed for [begun] in callback.values("on_begin")] == [1, 2]


def test_callbacks_do_not_change_trainings_random_numbers(run):
    class Drawing(Recording):
        def on_step(self, step, loss, learning_rate):
            torch.manual_seed(step)
            torch.rand(3)

        def on_begin(self, run):
            torch.manual_seed(0)

    quiet, _ = run()
    noisy, _ = run(Drawing())
    assert noisy.training.weights_sha256 == quiet.training.weights_sha256


def test_interrupted_run_calls_on_end(run):
    class Interrupting(Recording):
        def on_step(self, step, loss, learning_rate):
            raise KeyboardInterrupt

    callback = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run(callback)
    assert callback.values("on_end") == [[None]]


def test_failed_training_calls_on_end_with_its_record(mini, checkpoint_of, tmp_path):
    folder, recording = checkpoint_of("bert"), Recording()
    model = AutoModel.from_pretrained(folder)
    model.get_input_embeddings().weight.data[:] = float("nan")
    given = model, AutoTokenizer.from_pretrained(folder)
    [record] = xeval.run(str(mini.task_file), given, data=mini.data, results=tmp_path, callbacks=recording)
    assert record.status == "failed" and [name for name, *_ in recording.told] == ["on_begin", "on_end"]
    assert recording.values("on_end") == [[record]]


# ── what is refused ──


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (5, "callbacks: wanted objects of xeval.Callback, or of tensorboard, wandb, trackio, got int"),
        ([print], "got builtin_function_or_method"),
        ([Recording], "got the class Recording"),
        ("tensorbord", "unknown callback 'tensorbord': did you mean 'tensorboard'?"),
    ],
)
def test_non_callbacks_are_refused_in_one_line(callbacks, said):
    with pytest.raises(xeval.XevalError) as refused:
        xeval.run("xnli-mini", "mini-mbert", callbacks=callbacks)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("trackio", "trackio")],
)
def test_missing_package_is_refused_with_the_pip_command(monkeypatch, tmp_path, name, module):
    """Before any row is read or encoded."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("xeval.runs.grid.open_source", lambda *args: pytest.fail("rows should not have been read"))
    with pytest.raises(xeval.XevalError, match=f"callback {name}: it is not installed: pip install {name}"):
        xeval.run("xnli-mini", "mini-mbert", callbacks=[name], results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


# ── callbacks that come with xeval ──


def test_tensorboard_has_every_step_and_score(run, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record, said = run(xeval.TensorBoard(tmp_path / "logs"))
    [run_of_it] = load_runs(tmp_path / "results0")
    events = reader.EventAccumulator(str(tmp_path.joinpath("logs", *run_of_it.folder.parts[-3:]))).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(step, pytest.approx(loss)) for step, loss in record.training.loss_curve]
    assert [event.value for event in events.Scalars("test/es")] == [pytest.approx(record.scores["es"].value)]
    assert events.Tags()["scalars"] == [
        "train/loss",
        "train/learning_rate",
        "selection/score",
        *(f"test/{language}" for language in record.scores),
    ]
    assert not [line for line in said if "failed" in line]


class StandIn:
    """A module that records its calls, instead of wandb or trackio."""

    def __init__(self) -> None:
        self.options: list[dict] = []
        self.logged: list[tuple] = []
        self.n_finished = 0

    def init(self, **options):
        self.options.append(options)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, values, step=None):
        self.logged.append((values, step))

    def finish(self):
        self.n_finished += 1


@pytest.mark.parametrize(("name", "kind"), [("wandb", "WandB"), ("trackio", "Trackio")])
def test_services_get_every_step_and_score(run, monkeypatch, name, kind):
    module = StandIn()
    monkeypatch.setitem(sys.modules, name, module)
    record, said = run(getattr(xeval, kind)("mine", group="all of them"))
    [options] = module.options
    assert (options["project"], options["group"]) == ("mine", "all of them") and json.dumps(options["config"])
    assert record.model.id in options["name"] and module.n_finished == 1
    n_steps = record.training.n_steps
    assert [step for values, step in module.logged if "train/loss" in values] == list(range(1, n_steps + 1))
    scores = {key: value for values, _ in module.logged for key, value in values.items() if key.startswith("test/")}
    assert scores == {f"test/{language}": score.value for language, score in record.scores.items()}
    assert not [line for line in said if "failed" in line]


def test_real_wandb_accepts_what_is_logged(run, tmp_path):
    pytest.importorskip("wandb")
    _, said = run(xeval.WandB(mode="offline", dir=str(tmp_path)))
    assert not [line for line in said if "failed" in line]
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_real_trackio_accepts_what_is_logged(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read on import
    pytest.importorskip("trackio")
    _, said = run("trackio")
    assert not [line for line in said if "failed" in line]
    assert list((tmp_path / "trackio").glob("*.db"))


# ── the command line ──


def test_command_line_logs_to_tensorboard(mini, checkpoint_of, command, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    words = (mini.task_file, "--model", checkpoint_of("bert"), "--data", mini.data, "--epochs", 1, "-q")
    code, _, err = command("run", *words, "--log-to", "tensorboard")
    assert (code, err) == (0, "") and len(list(tmp_path.glob("tensorboard/mini-pairs/*/*/events.out.tfevents.*"))) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "xnli-mini", "--model", "mini-mbert", "--log-to", "visdom"], "'visdom' is not one of"),
        (["run", "xnli-mini", "--model", "mini-mbert", "--log-to", "wandb"], "pip install wandb"),
        (["run", "xnli-mini", "--model", "mini-mbert", "--log-to", "wandb", "--on", "slurm"], "leave out --log-to"),
        (["reproduce", "xnli-mini", "--log-to", "wandb"], "pip install wandb"),
    ],
)
def test_unusable_log_target_is_refused_in_one_line(command, monkeypatch, words, said):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = command(*words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
