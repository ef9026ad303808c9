"""Grids on Slurm: an array, a requeued job, a node that goes down, an expired time limit."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_grid_killed import PATIENCE_S, environment, undisturbed, wait_until, weights_in, words

from tests.helpers.killed import BRIEF
from tests.helpers.slurm_cluster import SlurmCluster, why_not
from xeval.results.store import load_runs
from xeval.runs.grid import run
from xeval.runs.plan import plan_grid, write_plan

__all__ = ["environment", "undisturbed", "words"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
SEEDS = list(range(1, 9))
LONG = {"epochs": 500, "batch_size": 1}
TRAINS_S = 180.0  # longer than a job may run before Slurm warns it of its time limit


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def start(words, mini, tmp_path, environment, cluster):
    """`start(name, **changes)` starts a grid on the cluster and returns the process, its log and its results folder."""

    def on_slurm(name: str, environment_of_jobs=(), **changes):
        results = tmp_path / name
        path = tmp_path / f"{name}.json"
        write_plan(plan_grid(str(mini.task_file), results=results, **words | changes), path)
        log = tmp_path / f"{name}.log"
        command = [sys.executable, "-m", "xeval", "run", "--plan", path, "--on", "slurm"]
        own = environment | cluster.environment | dict(environment_of_jobs)
        with log.open("w") as file:
            return subprocess.Popen(command, env=own, stdout=file, stderr=file), log, results

    return on_slurm


def running(cluster) -> list[tuple[str, str]]:
    """The id and the node of every running job."""
    lines = cluster.ask("squeue", "-h", "--array", "-t", "RUNNING", "-o", "%i %N").splitlines()
    return [tuple(line.split()) for line in lines]


def trains(results, job: str) -> bool:
    logs = list(results.glob(f"slurm/*/{job}_0_log.err"))
    return bool(logs) and "effective batch size" in logs[0].read_text()


def all_train(results, cluster) -> list[tuple[str, str]]:
    jobs = running(cluster)
    return jobs if len(jobs) == 2 and all(trains(results, job) for job, _ in jobs) else []


@pytest.mark.parametrize("words", [{"seeds": SEEDS, "overrides": {"epochs": 60}}], indirect=True)
def test_array_survives_a_requeue_and_a_lost_node(words, mini, start, cluster, tmp_path, monkeypatch, figure):
    driver, log, results = start("grid")
    [(first, _), (_, node)] = wait_until(lambda: all_train(results, cluster), "nobody trained")
    cluster.kill_node(node)
    cluster.ask("scontrol", "requeue", first)
    wait_until(lambda: "down" in cluster.ask("sinfo", "-h", "-n", node, "-o", "%T"), "Slurm did not miss the node")
    wait_until(lambda: log.read_text().count("put it back into the queue") == 2, "no job came back")
    cluster.start_node(node)
    assert driver.wait(4 * PATIENCE_S) == 0, log.read_text()
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "other-cache"))
    records = run(str(mini.task_file), results=tmp_path / "undisturbed", **words)
    assert weights_in(results) == {record.seed: record.training.weights_sha256 for record in records}
    figure(
        "Slurm: of an array of 8, one job put back into the queue, and one's node killed", "8 of 8 runs, same weights"
    )


@pytest.mark.parametrize("words", [{"seeds": [1], "overrides": {"batch_size": 1, "epochs": 100}}], indirect=True)
def test_job_at_its_time_limit_saves_and_resumes(words, mini, start, tmp_path, monkeypatch, figure):
    [brief] = run(str(mini.task_file), results=tmp_path / "brief", **words)
    n_steps = round(TRAINS_S * brief.timing["train"].rows_per_s)  # in epochs, this would be more than a recipe may have
    Path(words["recipe"]).write_text(BRIEF.replace("epochs = 2", f"max_steps = {n_steps}"))
    del words["overrides"]["epochs"]
    driver, log, results = start("timed", {"SBATCH_TIMELIMIT": "3", "SBATCH_SIGNAL": "USR2@60"})
    assert driver.wait(4 * PATIENCE_S) == 0, log.read_text()
    [said] = results.glob("slurm/*/*_log.err")
    n_times = said.read_text().count("goes back to the queue")
    resumed = re.findall(r"training resumes at step ([\d,]+)", said.read_text())
    assert n_times >= 1 and resumed, said.read_text()
    assert "DUE TO TIME LIMIT" not in said.read_text()
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "other-cache"))
    [record] = run(str(mini.task_file), results=tmp_path / "undisturbed", **words)
    assert weights_in(results) == {1: record.training.weights_sha256}
    figure("Slurm: a job of 3 minutes for a longer training", f"saved and put back {n_times} times, same weights")


@pytest.mark.parametrize("words", [{"seeds": [1], "overrides": LONG}], indirect=True)
def test_cancelled_job_is_reported_and_not_requeued(start, cluster):
    driver, log, results = start("cancelled")
    [(job, _)] = wait_until(lambda: running(cluster), "nothing ran")
    cluster.ask("scancel", job)
    assert driver.wait(PATIENCE_S) == 1
    assert f"Slurm ended job {job} before it was done" in log.read_text()
    assert load_runs(results) == []
