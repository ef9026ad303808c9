"""Processes that share a training run give what one process gives, and end together."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.shared_training import CASES, CPU, MOMENT, ROOT, Often, run_forked, run_in, train, weights
from xeval.cli.other_ranks import with_other_ranks
from xeval.engine.devices import choose
from xeval.engine.prediction import predict, predict_logits
from xeval.engine.ranks import ALONE, Ranks, current
from xeval.results.store import load_runs
from xeval.runs.on_local import local_devices
from xeval.runs.requests import RunRequest, attempt
from xeval.support.errors import XevalError
from xeval.support.termination import RankLost

SAME = [name for name in CASES if name != "dropout"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """The output of two processes for every case."""
    folder = tmp_path_factory.mktemp("two")
    process = run_forked(2, folder, *CASES)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path, float]:
    """Two processes of which the second is killed: their outcome, what they kept, and the seconds that it took."""
    folder, started_s = tmp_path_factory.mktemp("killed"), time.monotonic()
    (folder / "checkpoints").mkdir()
    process = run_in(2, folder, "last:kill")
    return process, folder / "checkpoints" / "last:kill", time.monotonic() - started_s


@pytest.fixture(scope="module")
def of_three(tmp_path_factory, killed) -> Path:
    """The output of three for some cases, one of them killed before and one too large for the memory of the third."""
    folder = tmp_path_factory.mktemp("three")
    shutil.copytree(killed[1], folder / "checkpoints" / "last")
    process = run_in(3, folder, "single", "tags", "pairs", "last", "pairs:short")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def alone():
    """`alone(name)`: the case and the outcome of training it in this process."""
    made = {}

    def of(name: str):
        if name not in made:
            case = CASES[name]()
            made[name] = case, train(case)
        return made[name]

    return of


def of(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def assert_same_weights(got: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    expected = weights(model)
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        if not is_noise(name, model):
            torch.testing.assert_close(got[name], tensor, rtol=0, atol=1e-6, msg=name)


def is_noise(name: str, model: torch.nn.Module) -> bool:
    """Whether its gradients are noise: adding one value to every key, or to every choice, changes nothing."""
    return name.endswith("key.bias") or (name == "classifier.bias" and model.classifier.out_features == 1)


# ── the same as in one process ──


@pytest.mark.parametrize("name", SAME)
def test_weights_and_losses_match_one_process(shared, alone, name):
    case, outcome = alone(name)
    assert_same_weights(load_file(shared / f"{name}.safetensors"), case.model)
    said = of(shared, name)
    np.testing.assert_allclose(said["loss_curve"], outcome.loss_curve, rtol=0, atol=1e-5)
    assert (said["step"], said["chosen_step"]) == (outcome.step, outcome.chosen_step)


@pytest.mark.parametrize("name", ["last", "frozen", "tags", "choices"])
def test_predictions_match_those_of_one_process(shared, alone, name):
    """To the bit: the ranks have the same weights, and batches are dealt out whole."""
    with np.load(shared / f"{name}.npz") as outputs:
        assert np.isfinite(outputs["shared"]).all()
        np.testing.assert_array_equal(outputs["shared"], outputs["alone"])
        case, _ = alone(name)
        expected = predict(case.model, case.kind, case.tested, CPU)
        shift = outputs["shared"][0] - expected[0] if name == "choices" else 0  # the same noise for every choice
        np.testing.assert_allclose(outputs["shared"] - shift, expected, rtol=0, atol=1e-4)


class WithoutOthers(Ranks):
    """A rank that gets only its own share back."""

    def give(self, value=None):
        return value

    def gather(self, value):
        return [value]


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_each_row_is_predicted_by_one_rank(alone, n_ranks):
    case, _ = alone("last")
    own = [predict_logits(case.model, case.tested, CPU, ranks=WithoutOthers(rank, n_ranks)) for rank in range(n_ranks)]
    is_predicted = np.isfinite(own).all(axis=2)  # (ranks, N)
    assert (is_predicted.sum(axis=0) == 1).all() and is_predicted.any(axis=1).all()


def test_ranks_with_dropout_keep_equal_weights(shared, alone):
    """Each draws other numbers in every step, so the weights are not those of one process."""
    with np.load(shared / "dropout.npz") as outputs:
        np.testing.assert_array_equal(outputs["shared"], outputs["alone"])
    case, outcome = alone("dropout")
    got = load_file(shared / "dropout.safetensors")
    assert any(not torch.equal(got[name], tensor) for name, tensor in weights(case.model).items())
    drawn = json.loads((shared / "dropout.drawn.json").read_text())
    assert [len(of_rank) for of_rank in drawn] == [outcome.step, outcome.step - 3]  # three batches have a single row
    assert len({number for of_rank in drawn for number in of_rank}) == 2 * outcome.step - 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single", "tags", "pairs"])
def test_ranks_without_rows_change_nothing(of_three, alone, name):
    """In every batch, or in the last of an epoch."""
    assert_same_weights(load_file(of_three / f"{name}.safetensors"), alone(name)[0].model)
    with np.load(of_three / f"{name}.npz") as outputs:
        np.testing.assert_array_equal(outputs["shared"], outputs["alone"])


@pytest.mark.slow
def test_batch_too_large_for_one_rank_is_split_on_all(of_three, alone):
    assert [of(of_three, name)["n_parts"] for name in ("pairs", "pairs:short")] == [1, 2]
    assert_same_weights(load_file(of_three / "pairs:short.safetensors"), alone("pairs")[0].model)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 13])
def test_shares_cover_everything_once_and_evenly(size, n):
    lengths = np.random.default_rng(n).integers(1, 100, n)
    shares = [Ranks(rank, size).share(lengths) for rank in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    sums = [lengths[share].sum() for share in shares]
    assert max(sums) - min(sums) <= lengths.max(initial=0)
    assert all((np.diff(share) > 0).all() for share in shares)


def test_single_process_exchanges_with_itself():
    tensor, ranks = torch.ones(3), current()
    ranks.add_up([tensor])
    assert ranks is ALONE and tensor.tolist() == [1.0] * 3
    assert (ranks.give(4), ranks.give_tensors({"a": tensor}), ranks.gather(5), ranks.most([6])) == (
        4,
        {"a": tensor},
        [5],
        [6],
    )


# ── ending ──


@pytest.mark.slow
def test_a_killed_rank_ends_the_others(killed):
    done, kept, seconds = killed
    assert done.returncode != 0 and seconds < 60, "half a minute is what torchrun gives those that do not end"
    assert Often(kept).newest().step == MOMENT - 1


@pytest.mark.slow
def test_resuming_on_more_ranks_gives_the_same_weights(of_three, alone):
    assert of(of_three, "last")["resumed"] == [MOMENT - 1]
    assert_same_weights(load_file(of_three / "last.safetensors"), alone("last")[0].model)


@pytest.mark.slow
def test_sigterm_to_one_rank_ends_all_after_the_same_step(tmp_path, alone):
    """One process then resumes to the same weights."""
    (tmp_path / "checkpoints").mkdir()
    assert run_in(2, tmp_path, "pairs:terminate").returncode != 0
    [kept] = (tmp_path / "checkpoints").iterdir()
    assert Often(kept).newest().step == MOMENT
    case, resumed = CASES["pairs"](), []
    train(case, snapshots=Often(kept), on_resume=resumed.append)
    assert resumed == [MOMENT]
    assert_same_weights(weights(case.model), alone("pairs")[0].model)


# ── the command ──


def xeval_in(n_ranks: int, *words: object, torchrun: Sequence[str] = ()) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
    command += [*torchrun, "-m", "xeval", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_run_on_two_ranks_matches_one_and_prints_once(mini, checkpoint_of, tmp_path, monkeypatch, command):
    words = ["run", mini.task_file, "--model", checkpoint_of("bert"), "--data", mini.data, "--max-steps", 6]
    assert command(*words, "--results", tmp_path / "one")[0] == 0
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    process = xeval_in(2, *words, "--results", tmp_path / "two")
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("effective batch size") == 1 and ", shared by 2 ranks" in process.stderr
    assert process.stdout.count("Records and predictions are in") == 1
    [one], [two] = (load_runs(tmp_path / name) for name in ("one", "two"))
    assert one.record.identity == two.record.identity and one.record.scores.keys() == two.record.scores.keys()
    for run, n_ranks in ((one, 1), (two, 2)):
        assert [each.environment.ranks for each in run.record.invocations.values()] == [n_ranks]
    for language, score in one.record.scores.items():
        rows = two.predictions(language)["row"].to_pylist()
        assert rows == one.predictions(language)["row"].to_pylist() and len(set(rows)) == score.n_rows


@pytest.mark.slow
def test_bad_input_is_reported_by_the_first_rank_alone(tmp_path):
    words = ("run", "xnli-mini", "--model", "no such model", "--results", tmp_path / "results")
    process = xeval_in(2, *words, torchrun=["--redirects=3", f"--log-dir={tmp_path}"])
    assert process.returncode != 0
    first, second = ("".join(path.read_text() for path in tmp_path.rglob(f"{rank}/std*.log")) for rank in (0, 1))
    assert first.startswith("xeval: ") and "no such model" in first and first.count("\n") == 1
    assert second == ""


def test_processes_that_do_not_meet_get_a_one_line_error(command, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = command("list", "tasks")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("xeval: ranks: RANK and WORLD_SIZE are set, but the processes did not meet (")


def test_several_ranks_cannot_share_one_gpu(monkeypatch):
    monkeypatch.setattr("torch.empty", lambda *sizes, device: torch.zeros(1))
    monkeypatch.setattr("xeval.engine.ranks.current", lambda: Ranks(0, 2))
    with pytest.raises(XevalError, match=r"^device: cuda:1 is one GPU, but each rank uses the GPU of its own number"):
        choose("cuda:1", "float32")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(XevalError, match=r"^device: 2 ranks need a GPU each, this machine has 1; lower --nproc"):
        choose("cuda", "float32")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_ranks_share_all_gpus_in_each_run(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert local_devices(device) == ["cuda:0", "cuda:1"]
    monkeypatch.setattr("xeval.engine.ranks.current", lambda: Ranks(0, 2))
    assert local_devices(device) == [device]


@pytest.mark.slow
def test_divergence_ends_all_ranks_at_the_same_step(tmp_path, alone):
    """Rank 0 alone saves, after each step; losses are read late, as on a GPU."""
    (tmp_path / "checkpoints").mkdir()
    process = run_in(2, tmp_path, "diverging:queued", "last", timeout_s=110)
    assert process.returncode == 0, process.stderr
    assert of(tmp_path, "diverging:queued")["problem"].startswith("the loss became nan at step ")
    assert_same_weights(load_file(tmp_path / "last.safetensors"), alone("last")[0].model)


def test_reason_of_a_lost_rank_is_shown(monkeypatch):
    def command() -> None:
        raise RankLost from RuntimeError("NCCL error: unhandled system error\nno space left in /dev/shm")

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("xeval.engine.ranks.joined", lambda: nullcontext(Ranks(0, 2)))
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    with pytest.raises(XevalError, match=r"^another rank has ended or cannot be reached \(NCCL error: .* /dev/shm\), "):
        with_other_ranks(command)


def test_unknown_error_of_a_shared_run_ends_its_rank(monkeypatch):
    """The others may be in the middle of the run, and would wait for ever for a rank that begins another."""

    def execute(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("xeval.runs.requests.execute", execute)
    request = RunRequest(task="xnli-mini", model="mini-mbert", results="/results")
    assert attempt(request).is_unexpected
    monkeypatch.setattr("xeval.engine.ranks.current", lambda: Ranks(0, 2))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        attempt(request)
