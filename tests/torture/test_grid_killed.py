"""Grids whose processes, machines and driver are killed: every run is trained once, none is lost, weights are equal."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import tiny
from tests.helpers.killed import BRIEF
from tests.torture.grid_victims import n_lines
from xeval.results.store import load_runs
from xeval.runs.grid import run
from xeval.runs.plan import plan_grid, write_plan

SEEDS = [1, 2, 3, 4, 5, 6]
PATIENCE_S = 300.0

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture
def words(request, tmp_path, mini, checkpoint_of):
    """What `run` takes besides the task and the results; a test parameter changes it."""
    (tmp_path / "brief.toml").write_text(BRIEF)
    return {
        "models": [str(checkpoint_of("bert"))],
        "recipe": str(tmp_path / "brief.toml"),
        "seeds": SEEDS,
        "data": mini.data,
        "device": "cpu",
        "dtype": "float32",
        **getattr(request, "param", {}),
    }


@pytest.fixture
def undisturbed(words, mini, tmp_path, monkeypatch) -> dict[int, str]:
    """The weights of each seed, trained in one undisturbed process."""
    with monkeypatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(tmp_path / "other-cache"))
        records = run(str(mini.task_file), results=tmp_path / "undisturbed", **words)
    return {record.seed: record.training.weights_sha256 for record in records}


@pytest.fixture
def plan(words, mini, tmp_path) -> Path:
    path = tmp_path / "plan.json"
    write_plan(plan_grid(str(mini.task_file), results=tmp_path / "results", **words), path)
    return path


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The environment of separate processes."""
    folders = [Path(__file__).parent, *filter(None, sys.path)]
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "VICTIMS_FOLDER": str(tmp_path),
    }


def wait_until(is_so, what: str):
    until_s = time.monotonic() + PATIENCE_S
    while not (answer := is_so()):
        assert time.monotonic() < until_s, what
        time.sleep(0.05)
    return answer


def weights_in(results: Path) -> dict[int, str]:
    runs = load_runs(results)
    assert all(run.record.status == "complete" and len(run.record.scores) == 3 for run in runs)
    return {run.record.seed: run.record.training.weights_sha256 for run in runs}


# ── Ray ──


class Nodes:
    """Nodes of a Ray cluster on this machine, each a `ray start` of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xr", dir="/tmp"))  # names of Unix sockets must be short
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.environment = environment | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        self.processes = []

    def start(self, n_workers: int) -> None:
        own = f"--temp-dir={self.folder}"
        self._start("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false", own)
        for _ in range(n_workers):
            self._start(f"--address={self.address}", "--num-cpus=1")

    def _start(self, *words: str) -> None:
        ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
        options = {"env": self.environment, "start_new_session": True}
        # Each has its own address, so that the driver takes the head for this machine.
        own = f"--node-ip-address=127.0.0.{len(self.processes) + 1}"
        log = self.folder / f"node-{len(self.processes)}.log"
        with log.open("w") as file:
            process = subprocess.Popen([*ray, own, *words], stdout=file, stderr=file, **options)
        self.processes.append(process)
        wait_until(lambda: "Ray runtime started" in log.read_text(), "a node did not start")

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def three_nodes(environment):
    hook = {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "grid_victims.watch"}
    nodes = Nodes(environment | hook)
    try:
        nodes.start(3)
        yield nodes
    finally:
        nodes.stop()


@pytest.mark.slow
@needs_ray
def test_ray_grid_survives_killed_nodes_and_driver(undisturbed, plan, three_nodes, tmp_path, figure):
    command = [sys.executable, "-m", "xeval", "run", "--plan", plan, "--on", "ray"]
    environment = three_nodes.environment | {"RAY_ADDRESS": three_nodes.address}
    (tmp_path / "in training").touch()
    (tmp_path / "while saving").touch()
    (tmp_path / "driver lives").touch()
    log = tmp_path / "driver.log"
    with log.open("w") as file:
        driver = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    again = "its process or its machine was lost; restarting it"
    wait_until(lambda: log.read_text().count(again) == 2 or driver.poll() is not None, "no run was started again")
    assert driver.poll() is None, log.read_text()
    assert len(list(tmp_path.glob("in training.*"))) == len(list(tmp_path.glob("while saving.*"))) == 1
    driver.kill()
    driver.wait()
    n_trained = n_lines(tmp_path / "trained")
    (tmp_path / "driver lives").unlink()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert second.returncode == 0, second.stderr
    assert n_trained < len(SEEDS)
    assert weights_in(tmp_path / "results") == undisturbed
    trained = Counter((tmp_path / "trained").read_text().split())
    assert len(trained) == len(SEEDS)
    assert set(trained.values()) == {1}
    what = "Ray: of 3 nodes one killed in training, one while saving, and the driver killed and started again"
    figure(what, f"{len(trained)} of 6 runs, once each")


# ── processes of this machine ──


@pytest.mark.slow
def test_local_grid_survives_a_killed_process(undisturbed, plan, environment, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from xeval.runs.on_local import on_local\nfrom xeval.runs.plan import read_plan, run_plan\n"
        "if __name__ == '__main__':\n"
        "    stored, problems = run_plan(read_plan(Path(sys.argv[1])), on_local(['cpu', 'cpu']))\n"
        "    sys.exit(len(problems))\n"
    )
    script = tmp_path / "grid.py"
    script.write_text(code)
    log = tmp_path / "grid.log"
    with log.open("w") as file:
        driver = subprocess.Popen([sys.executable, script, plan], env=environment, stdout=file, stderr=file)
    wait_until(lambda: "effective batch size" in log.read_text(), "nobody trained")
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(workers[0], signal.SIGKILL)
    assert driver.wait(PATIENCE_S) == 0, log.read_text()
    assert "was ended by SIGKILL; restarting it" in log.read_text()
    assert weights_in(tmp_path / "results") == undisturbed


# ── variables ──


@pytest.mark.slow
@needs_ray
def test_ray_workers_take_the_drivers_variables(environment, mini, tmp_path):
    """Also folders that its own working folder is part of."""
    commit, model = "c" * 40, tmp_path / "hf" / "hub" / "models--some--encoder"
    tiny.make_checkpoint(model / "snapshots" / commit, "bert")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    (tmp_path / "brief.toml").write_text(BRIEF)
    unset = ("XEVAL_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT")
    bare = {name: value for name, value in environment.items() if name not in unset} | {"HOME": str(tmp_path / "home")}
    nodes = Nodes(bare)
    try:
        nodes.start(1)
        own = {"RAY_ADDRESS": nodes.address, "HF_HOME": "hf", "HF_HUB_OFFLINE": "1", "XEVAL_CACHE": "cache"}
        words = [mini.task_file, "--data", mini.data, "--model", "some/encoder", "--recipe", tmp_path / "brief.toml"]
        command = [sys.executable, "-m", "xeval", "run", *words, "--results", tmp_path / "results", "--on", "ray"]
        options = {"capture_output": True, "text": True, "timeout": PATIENCE_S}
        driver = subprocess.run(command, env=nodes.environment | own, cwd=tmp_path, check=False, **options)
    finally:
        nodes.stop()
    assert driver.returncode == 0, driver.stderr
    [made] = load_runs(tmp_path / "results")
    assert (made.record.status, made.record.model.revision) == ("complete", commit)
    assert (tmp_path / "cache" / "weights" / made.record.identity).is_dir()
    assert not (tmp_path / "home" / ".cache" / "xeval").exists()
