"""Runs survive a failing cache, log or terminal, and an error of the operating system is reported in one line."""

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_changed_files import Interfering, predictions
from test_paths_and_bombs import is_one_line

import xeval
from tests.helpers.sample_record import run_record
from xeval.cli import main
from xeval.data.embedded import corpus_folder
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.engine.loading import load_pretrained, save_fine_tuned
from xeval.results.store import load_runs, save_record

EPOCH = {"epochs": 1.0}


# ── the cache ──


def close(cache: Path) -> None:
    """Make writing below `cache` fail as on a full disk, even for root."""
    shutil.rmtree(cache, ignore_errors=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("")


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["XEVAL_CACHE"])


@pytest.fixture
def quiet(mini, checkpoint_of, tmp_path) -> dict[str, list]:
    """Predictions of a run that nothing disturbs."""
    options = {"data": mini.data, "overrides": EPOCH, "results": tmp_path / "quiet"}
    xeval.run(str(mini.task_file), str(checkpoint_of("bert")), **options)
    return predictions(tmp_path / "quiet")


@pytest.mark.parametrize("phase", ["read", "tokenize", "train", "evaluate"])
@pytest.mark.parametrize("how", ["closed", "emptied"])
def test_run_survives_loss_of_its_cache(mini, checkpoint_of, tmp_path, monkeypatch, quiet, phase, how):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    act = close if how == "closed" else shutil.rmtree
    reporter = Interfering(phase, lambda: act(tmp_path / "cache") if (tmp_path / "cache").is_dir() else None)
    options = {"data": mini.data, "overrides": EPOCH, "results": tmp_path / "noisy"}
    xeval.run(str(mini.task_file), str(checkpoint_of("bert")), reporter=reporter, **options)
    [run] = load_runs(tmp_path / "noisy")
    assert run.record.status == "complete"
    assert predictions(tmp_path / "noisy") == quiet


def test_run_without_cache_warns_and_is_identical(command, mini, checkpoint_of, tmp_path, cache, quiet):
    close(cache)
    words = ["--data", mini.data, "--epochs", "1"]
    answer = command("run", mini.task_file, "--model", checkpoint_of("bert"), *words)
    assert answer.code == 0
    assert "continues without the cache" in answer.err and "they are evaluated from memory" in answer.err
    assert predictions(Path("results")) == quiet
    [mine], [theirs] = load_runs(Path("results")), load_runs(tmp_path / "quiet")
    assert mine.record.training.weights_sha256 == theirs.record.training.weights_sha256


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "xlm-roberta"])
def test_unsaved_weights_have_the_same_checksum(mini, checkpoint_of, tmp_path, architecture):
    checkpoint = find_checkpoint(str(checkpoint_of(architecture)))
    model = load_pretrained(checkpoint, mini.task.of_kind, seed=0)
    kept, said = save_fine_tuned(model, tmp_path / "kept"), list[str]()
    (tmp_path / "closed").write_text("")
    assert save_fine_tuned(model, tmp_path / "closed" / "weights", checkpoint, said.append) == kept
    assert len(said) == 1


def test_corpus_is_made_even_without_a_cache(cache):
    kept = corpus_folder(get_task("retrieval-mini"))
    expected = {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*.*")}
    close(cache)
    made = corpus_folder(get_task("retrieval-mini"))
    assert made != kept and {path.relative_to(made): path.read_bytes() for path in made.rglob("*.*")} == expected


# ── standard output, standard error, the terminal ──


@pytest.fixture
def xeval_command(tmp_path):
    """The words of a command that runs xeval in its own process."""
    return lambda *words: [sys.executable, "-m", "xeval", *map(str, words)]


@pytest.fixture
def training(mini, checkpoint_of, tmp_path, xeval_command) -> list[str]:
    words = ["--data", mini.data, "--epochs", "1", "--results", tmp_path / "results"]
    return xeval_command("run", mini.task_file, "--model", checkpoint_of("bert"), *words)


def check_complete(tmp_path: Path) -> None:
    [run] = load_runs(tmp_path / "results")
    assert run.record.status == "complete" and len(run.record.scores) == 3


def test_run_survives_unwritable_stderr(training, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", training[2:])
    with Path("/dev/full").open("w") as full, pytest.raises(SystemExit) as left:
        monkeypatch.setattr(sys, "stderr", full)
        main()
    check_complete(tmp_path)
    assert left.value.code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "end", ["2>/dev/full", "2>&1 | head -2", "2>&-", "2>&1 | true", ">&- 2>&-", "2>/dev/full >/dev/full"]
)
def test_run_survives_lost_output_streams(training, tmp_path, end):
    script = f"{shlex.join(training)} {end}"
    process = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, timeout=300)
    check_complete(tmp_path)
    assert "Traceback" not in process.stderr + process.stdout
    assert process.returncode == (2 if end.endswith(">/dev/full >/dev/full") else 0)


@pytest.mark.slow
def test_run_survives_closed_terminal(training, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(training, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.read(ours, 10)  # it has begun to print
    os.close(ours)
    process.wait(timeout=300)
    check_complete(tmp_path)


@pytest.mark.slow
def test_sighup_stops_a_run_cleanly(training):
    with subprocess.Popen([*training, "--epochs", "500"], stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if "effective batch size" in line)
        time.sleep(1)
        process.send_signal(signal.SIGHUP)
        rest = process.stderr.read()
    assert process.returncode == 129
    assert "its terminal was closed; finished and saved work is kept" in rest and "Traceback" not in rest


@pytest.mark.parametrize("words", [["report"], ["list", "runs"], ["list", "tasks"], ["report", "--format", "json"]])
def test_full_disk_error_is_one_line(xeval_command, tmp_path, words):
    save_record(tmp_path / "results" / "cats" / "m" / "run", run_record())
    named = ["--results", tmp_path / "results"]
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(xeval_command(*words, *named), stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 2
    assert process.stderr == "xeval: standard output: No space left on device; fix that, or name another place\n"


# ── errors of the operating system ──

LONG = "x" * 300
REFUSED: dict[str, list[object]] = {
    "a name of 300 characters for results": ["report", "--results", LONG],
    "a name of 300 characters for a report": ["report", "--results", "results", "-o", LONG],
    "a name of 300 characters for a baseline": ["check", "--baseline", LONG],
    "a folder that is a file": ["report", "--results", "file/results"],
    "a report in a file": ["report", "--results", "results", "-o", "file/report.md"],
    "a report that is a folder": ["report", "--results", "results", "-o", "results"],
    "a home that is nobody's": ["report", "--results", "results", "--reference", "~nobody-at-all/table.toml"],
    "a link that leads to itself": ["report", "--results", "loop"],
    "a bundle that is a folder": ["reproduce", "conneau-2020", "--bundle", "results"],
    "a plan that is a folder": ["run", "--plan", "results"],
    "a seed of 20 digits": ["run", "xnli-mini", "--model", "mini-mbert", "--seed", "18446744073709551616"],
    "a device without content": ["run", "xnli-mini", "--model", "mini-mbert", "--device", "meta"],
    "a site in a file": ["site", "--results", "results", "--output", "file"],
}


@pytest.mark.parametrize("what", REFUSED)
def test_system_errors_are_reported_in_one_line(command, what):
    save_record(Path("results") / "cats" / "m" / "run", run_record())
    Path("file").write_text("")
    Path("loop").symlink_to("loop")
    is_one_line(command(*REFUSED[what]))


@pytest.mark.parametrize("name", ["XEVAL_CACHE", "HOME"])
@pytest.mark.parametrize("value", [f"/tmp/{LONG}", "~nobody-at-all/x", "/proc/none", "file/cache", ""])
def test_odd_home_and_cache_paths_cause_no_traceback(command, mini, checkpoint_of, monkeypatch, name, value):
    Path("file").write_text("")
    monkeypatch.delenv("XEVAL_CACHE")
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    monkeypatch.setenv(name, value)
    words = ["--data", mini.data, "--epochs", "1", "--language", "en"]
    answer = command("run", mini.task_file, "--model", checkpoint_of("bert"), *words)
    assert answer.code in (0, 2) and "Traceback" not in answer.err


def test_run_works_with_a_read_only_home(training, tmp_path, monkeypatch):
    close(tmp_path / "closed")
    for name in ("HOME", "HF_HOME", "XEVAL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "closed" / name))
    process = subprocess.run(training, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    check_complete(tmp_path)


def test_run_works_with_a_cache_in_a_closed_folder(training, tmp_path, monkeypatch):
    """The user may not enter the folder, which `sudo` may have left behind in the home folder."""
    closed = tmp_path / "closed"
    closed.mkdir()
    monkeypatch.setenv("XEVAL_CACHE", str(closed / "xeval"))
    as_user = []
    if os.geteuid() == 0:  # which may enter every folder, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv")
        as_user = ["setpriv", *(f"--{name}=-dac_override,-dac_read_search" for name in ("inh-caps", "bounding-set"))]
    closed.chmod(0)
    process = subprocess.run([*as_user, *training], capture_output=True, text=True, timeout=300)
    closed.chmod(0o755)
    assert process.returncode == 0, process.stderr
    assert "closed/xeval is not writable" in process.stderr and "continues without the cache" in process.stderr
    check_complete(tmp_path)
