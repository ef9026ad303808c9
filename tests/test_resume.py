"""An interrupted training run resumes to the same weights, to the bit; batches too large for memory are split."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import xeval.engine.steps
from tests.helpers.checkpoints import KIND, labelled_pairs, make_pairs, tiny_model, tiny_tokenizer, without_dropout
from tests.helpers.tiny_training import into
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.snapshots import KEPT, Snapshot, Snapshots
from xeval.engine.training import fine_tune
from xeval.support import termination
from xeval.support.errors import TrainingError
from xeval.support.sealed import sealing

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = encode(KIND, tiny_tokenizer("bert"), labelled_pairs("en", make_pairs("en", 22), "train"), 48)
N_STEPS = 9  # three epochs of two batches of 8 pairs and one of 6


def recipe(**values) -> Recipe:
    """With everything that leaves a trace: warm-up, decay, selection between steps, and the best of them kept."""
    defaults = {"warmup_share": 0.3, "weight_decay": 0.1, "selection": "english-dev", "evaluate_every_steps": 2}
    ends = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 3.0, "max_length": 48}
    return Recipe(name="r", description="d", **(defaults | ends | values))


class Often(Snapshots):
    """Keeps a checkpoint after every step."""

    def is_due(self) -> bool:
        return True


def train(folder: Path | None, chosen: Recipe | None = None, model=None, **also):
    """The outcome and the weights of a training run with dropout, whose selection prefers the fourth step."""
    model = model or tiny_model("bert", len(tiny_tokenizer("bert")))
    selected = []

    def selection() -> float:
        selected.append(float(sum(parameter.detach().sum() for parameter in model.parameters())))
        return abs(np.sin(selected[-1] * 1e3))  # depends on the weights, as an accuracy does

    chosen = chosen or recipe()
    kept = Often(folder) if folder else None
    also["selection_loss"] = lambda: abs(np.cos(selected[-1] * 1e3))
    outcome = fine_tune(KIND, model, PAIRS, chosen, chosen.learning_rate, 3, CPU, selection, snapshots=kept, **also)
    return outcome, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(some, others) -> bool:
    outcomes = [
        (o.n_steps, o.step, o.n_pairs, o.loss_curve, o.selection_curve, o.selection_losses, o.chosen_step)
        for o, _ in (some, others)
    ]
    return outcomes[0] == outcomes[1] and all(torch.equal(some[1][name], others[1][name]) for name in some[1])


def interrupt_after(n_steps: int, interruption: BaseException):
    seen = []

    def on_step(loss: float, learning_rate: float) -> None:
        seen.append(loss)
        if len(seen) == n_steps:
            raise interruption

    return on_step


@pytest.fixture(scope="module")
def uninterrupted():
    return train(None)


def test_keeping_checkpoints_changes_nothing(tmp_path, uninterrupted):
    assert same(train(tmp_path), uninterrupted)


@pytest.mark.parametrize("n_steps", range(1, N_STEPS + 1))
def test_interruption_in_any_step_changes_no_weights(tmp_path, uninterrupted, n_steps):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=interrupt_after(n_steps, KeyboardInterrupt()))
    resumed = []
    assert same(train(tmp_path, on_resume=resumed.append), uninterrupted)
    assert resumed == ([n_steps - 1] if n_steps > 1 else [])


def test_repeated_interruptions_change_no_weights(tmp_path, uninterrupted):
    for _ in range(1, N_STEPS):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, on_step=interrupt_after(2, KeyboardInterrupt()))
    assert same(train(tmp_path), uninterrupted)


@pytest.mark.parametrize(
    "values",
    [
        {"selection": "last"},
        {"selection": "english-dev-loss"},
        {"patience": 1},
        {"weight_decay": 0.0},
        {"epochs": None, "max_steps": 7},
    ],
    ids=["last", "by loss", "patience", "no decay", "max_steps"],
)
def test_interruption_changes_no_weights_in_other_recipes(tmp_path, values):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe(**values), on_step=interrupt_after(4, KeyboardInterrupt()))
    assert same(train(tmp_path, recipe(**values)), train(None, recipe(**values)))


def test_finished_but_unrecorded_training_is_not_repeated(tmp_path, uninterrupted):
    train(tmp_path)
    steps = []
    assert same(train(tmp_path, on_step=into(steps)), uninterrupted)
    assert steps == []


@pytest.mark.parametrize("name", ["tensors.safetensors", "values.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "more"])
def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, uninterrupted, name, damage):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=interrupt_after(6, KeyboardInterrupt()))
    *_, newest = sorted(tmp_path.glob("step-*"))
    content = (newest / name).read_bytes()
    middle = len(content) // 2
    if damage == "gone":
        (newest / name).unlink()
    else:
        damaged = {
            "flipped": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
            "cut": content[:middle],
            "more": content + b"x",
        }
        (newest / name).write_bytes(damaged[damage])
    said, resumed = [], []
    assert Snapshots(tmp_path, said.append).newest().step == 4
    assert len(said) == 1 and str(newest) in said[0]
    assert same(train(tmp_path, on_resume=resumed.append), uninterrupted)
    assert resumed == [4]


def test_only_two_checkpoints_are_kept_until_cleared(tmp_path):
    train(tmp_path)
    assert len(list(tmp_path.iterdir())) == KEPT
    Snapshots(tmp_path).clear()
    assert not tmp_path.exists()


def test_saving_takes_at_most_two_percent_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("xeval.engine.snapshots.time.monotonic", lambda: now[0])
    checkpoints, spent = Snapshots(tmp_path), 0.0
    monkeypatch.setattr("xeval.engine.snapshots.save_file", lambda *args: now.__setitem__(0, now[0] + 7.0))
    for _ in range(100_000):
        now[0] += 0.5
        if checkpoints.is_due():
            checkpoints.save(Snapshot(1, {}, {}))
            spent += 7.0
    assert 0.015 < spent / now[0] <= 0.02


def test_training_without_checkpoints_goes_on_and_says_so(tmp_path, uninterrupted):
    (tmp_path / "file").write_text("in the way")
    said = []

    class Loud(Often):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder, said.append)

    model = tiny_model("bert", len(tiny_tokenizer("bert")))
    outcome = fine_tune(
        KIND, model, PAIRS, recipe(selection="last"), 1e-3, 3, CPU, lambda: 0.5, snapshots=Loud(tmp_path / "file")
    )
    assert outcome.step == N_STEPS
    assert len(said) == N_STEPS and all("no snapshot could be saved" in line and "\n" not in line for line in said)


# ── SIGTERM ──


@pytest.fixture
def listening():
    before = signal.getsignal(signal.SIGTERM)
    termination.listen()
    yield
    termination.listen()  # forgets signals that have arrived
    signal.signal(signal.SIGTERM, before)


def test_sigterm_in_training_saves_the_current_step(tmp_path, uninterrupted, listening):
    calls = []

    def on_step(loss: float, learning_rate: float) -> None:
        calls.append(loss)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    model = tiny_model("bert", len(tiny_tokenizer("bert")))
    with pytest.raises(termination.Terminated):
        fine_tune(KIND, model, PAIRS, recipe(), 1e-3, 3, CPU, lambda: 0.5, on_step, snapshots=Snapshots(tmp_path))
    assert Snapshots(tmp_path).newest().step == len(calls) == 5


def test_sigterm_outside_training_ends_immediately(listening):
    with pytest.raises(termination.Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


# ── out of memory ──


@pytest.fixture
def memory_for(monkeypatch):
    """`memory_for(n)`: batches of more than n pairs do not fit."""

    def limit(n_pairs: int, error: Exception | None = None) -> None:
        logits_of = xeval.engine.steps.logits_of

        def limited(model, pairs, rows, compute):
            if len(rows) > n_pairs:
                raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return logits_of(model, pairs, rows, compute)

        monkeypatch.setattr(xeval.engine.steps, "logits_of", limited)

    return limit


@pytest.mark.parametrize(("n_pairs", "n_parts"), [(4, 2), (3, 4), (1, 8)])
def test_splitting_a_batch_does_not_change_the_training(memory_for, n_pairs, n_parts):
    """In float64 and without dropout, whose draws depend on the split."""

    def double():
        return tiny_model("bert", len(tiny_tokenizer("bert")), **without_dropout("bert")).double()

    whole, expected = train(None, recipe(selection="last"), double())
    memory_for(n_pairs)
    split, weights = train(None, recipe(selection="last"), double())
    assert (whole.n_parts, split.n_parts) == (1, n_parts)
    assert (split.n_pairs, split.step) == (whole.n_pairs, whole.step)
    np.testing.assert_allclose([loss for _, loss in split.loss_curve], [loss for _, loss in whole.loss_curve], 1e-6)
    for name in expected:
        np.testing.assert_allclose(weights[name], expected[name], rtol=0, atol=1e-6, err_msg=name)


def test_running_out_of_cpu_memory_also_splits_batches(memory_for):
    message = (
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
    )
    memory_for(4, RuntimeError(message))
    assert train(None)[0].n_parts == 2


def test_training_fails_if_not_even_one_pair_fits(memory_for):
    memory_for(0)
    with pytest.raises(TrainingError, match="out of memory at step 1 with a single pair"):
        train(None)


def test_other_errors_are_not_taken_as_out_of_memory(memory_for):
    memory_for(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(None)


def test_the_split_survives_an_interruption(tmp_path, memory_for):
    memory_for(4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=interrupt_after(4, KeyboardInterrupt()))
    assert same(train(tmp_path), train(None))


def test_optimizer_without_memory_fails_in_one_line(monkeypatch):
    def step(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("torch.optim.AdamW.step", step)
    with pytest.raises(TrainingError, match=r"^out of memory at step 1, for the optimizer's two moments [^\n]+$"):
        train(None)


@pytest.mark.parametrize("other", [{"format": 1}, {"computed_by": {"xeval": "0.0.1"}}], ids=["format", "libraries"])
def test_checkpoint_of_another_version_is_not_resumed(tmp_path, other):
    said, snapshots = [], Snapshots(tmp_path)
    for step in (1, 2):
        snapshots.save(Snapshot(step, {"weight": torch.ones(2)}, {}))
    newest = max(tmp_path.iterdir())
    values = json.loads((newest / "values.json").read_text())
    with sealing(newest) as partial:
        (partial / "values.json").write_text(json.dumps(values | other))
        save_file({"weight": torch.ones(2)}, partial / "tensors.safetensors")
    assert Snapshots(tmp_path, said.append).newest().step == 1
    assert len(said) == 1 and said[0].startswith(f"{newest}: this snapshot is damaged or from another version of")


def test_training_made_again_resumes_from_its_own_snapshots(tmp_path, uninterrupted, monkeypatch):
    """As after an update of torch: those of the version before had reached a later step, and none can be used."""
    with monkeypatch.context() as before, pytest.raises(KeyboardInterrupt):
        before.setattr("xeval.engine.snapshots.computation", lambda: "another version")
        train(tmp_path, on_step=interrupt_after(8, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=interrupt_after(4, KeyboardInterrupt()))
    resumed = []
    assert same(train(tmp_path, on_resume=resumed.append), uninterrupted)
    assert resumed == [3]
