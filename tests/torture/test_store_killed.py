"""The store, killed at random moments and at every file operation: nothing is torn, nothing acknowledged is lost."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import victims as victim

from tests.helpers.results import add_language, logits_of
from tests.helpers.sample_record import run_record
from xeval.report import matrix
from xeval.report.formats import markdown
from xeval.results import predictions, store
from xeval.support.locks import locked


def check_everything_recorded_is_there(folder: Path) -> set[str]:
    """The languages that the record names, after reading all of their predictions."""
    record = store.load_record(folder)
    if record is None:
        return set()
    for language, score in record.scores.items():
        predictions.load_predictions(folder, language, score.predictions_sha256)
    return set(record.scores)


def kill_while_committing(folder: Path, victims, start: int, after_s: float) -> list[int]:
    """What a process acknowledged before it was killed, `after_s` seconds after its first acknowledgement."""
    receiver, sender = victims.Pipe(duplex=False)
    process = victims.Process(target=victim.commit_until_killed, args=(folder, sender, start))
    process.start()
    sender.close()
    acknowledged = [receiver.recv()]
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with suppress(EOFError):
        while receiver.poll():
            acknowledged.append(receiver.recv())
    receiver.close()
    return acknowledged


@pytest.mark.parametrize("n_kills", [25, pytest.param(250, marks=pytest.mark.slow)])
def test_random_kills_lose_nothing_acknowledged(tmp_path, victims, figure, n_kills):
    rng, n_torn, n_lost, n_acknowledged = random.Random(1), 0, 0, 0
    for number in range(n_kills):
        folder = tmp_path / f"run-{number // 10}"  # ten processes one after the other on the same run
        if number % 10 == 0:
            acknowledged: list[int] = []
        acknowledged += kill_while_committing(folder, victims, len(acknowledged) + 1000 * number, rng.random() * 0.05)
        try:
            there = check_everything_recorded_is_there(folder)
        except Exception:  # the figure counts it, and the assertion below fails
            n_torn += 1
            continue
        n_lost += len({f"l{number}" for number in acknowledged} - there)
        n_acknowledged += len(acknowledged) if number % 10 == 9 else 0
    with locked(folder):
        left = [path.name for path in folder.rglob("*.tmp")]
    figure(
        f"SIGKILL at {n_kills} random moments of the store",
        f"{n_torn} torn, {n_lost} of {n_acknowledged} acknowledged lost",
    )
    assert (n_torn, n_lost, left) == (0, 0, [])
    assert n_acknowledged > n_kills


def test_killed_commit_leaves_the_old_or_new_record(tmp_path, victims, figure):
    n_operations, n_kills, outcomes = 1, 0, set()
    while n_kills < n_operations:
        n_kills += 1
        folder = tmp_path / f"kill-{n_kills}"
        add_language(folder, run_record(scores={}), "de", logits_of(0, 0))
        receiver, sender = victims.Pipe(duplex=False)
        process = victims.Process(target=victim.commit_with_fault, args=(folder, sender, n_kills, 0))
        process.start()
        sender.close()
        process.join()
        if process.exitcode == 0:
            outcome, seen = receiver.recv()
            assert outcome == "done" and seen == n_kills - 1
            n_kills -= 1
            break
        assert process.exitcode == -signal.SIGKILL
        n_operations += 1
        outcomes.add(frozenset(check_everything_recorded_is_there(folder)))
    figure(f"SIGKILL at each of the {n_kills} file operations of a commit", "the old record or the new one, each time")
    assert n_kills > 8 and outcomes == {frozenset({"de"}), frozenset({"de", "es"})}


@pytest.mark.parametrize("name", ["ENOSPC", "EIO"])
def test_disk_failure_in_a_commit_loses_nothing(tmp_path, victims, figure, name):
    n_faults = 0
    while True:
        folder = tmp_path / f"fault-{n_faults + 1}"
        add_language(folder, run_record(scores={}), "de", logits_of(0, 0))
        receiver, sender = victims.Pipe(duplex=False)
        arguments = (folder, sender, n_faults + 1, getattr(errno, name))
        process = victims.Process(target=victim.commit_with_fault, args=arguments)
        process.start()
        sender.close()
        outcome, _ = receiver.recv()
        process.join()
        there = check_everything_recorded_is_there(folder)
        if outcome == "done":
            assert there == {"de", "es"}
            break
        n_faults += 1
        assert "\n" not in outcome and str(folder) in outcome and os.strerror(getattr(errno, name)) in outcome
        assert "de" in there
        record = add_language(folder, store.load_record(folder), "es", logits_of(0, 1))
        assert set(record.scores) == check_everything_recorded_is_there(folder) == {"de", "es"}
    figure(f"{name} from each of the {n_faults} file operations of a commit on", "0 partial results, one line each")
    assert n_faults > 8


@pytest.mark.parametrize("n_processes", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_processes_sharing_a_folder_compute_cells_once(tmp_path, victims, figure, n_processes):
    orders = [random.Random(number).sample(range(100), 100) for number in range(n_processes)]
    processes = [
        victims.Process(target=victim.cells, args=(tmp_path / "shared", order, tmp_path / "computed"))
        for order in orders
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * n_processes
    lines = (tmp_path / "computed").read_text().split("\n")[:-1]
    workers = {line.split()[1] for line in lines}
    victim.cells(tmp_path / "alone", list(range(100)), tmp_path / "computed-alone")
    reports = [
        markdown.render(matrix.build(store.load_runs(tmp_path / name), "cats", None)).encode()
        for name in ("shared", "alone")
    ]
    what = f"{n_processes} processes × 100 cells in one folder"
    figure(
        what,
        f"{len(lines)} computed by {len(workers)} of them; report equal to one process's: {reports[0] == reports[1]}",
    )
    assert sorted(int(line.split()[0]) for line in lines) == list(range(100))
    assert len(workers) == n_processes
    assert reports[0] == reports[1]


@pytest.mark.parametrize("n_processes", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_torn_network_disk_loses_and_repeats_no_cell(tmp_path, victims, figure, n_processes):
    """No locks, files that are stale now and then, no flushing of folders, no changes of mode."""
    results, pipes, processes = tmp_path / "shared", [], []
    for number in range(n_processes):
        order = random.Random(number).sample(range(100), 100)
        receiver, sender = victims.Pipe(duplex=False)
        arguments = (results, order, tmp_path / "computed", sender)
        processes.append(victims.Process(target=victim.cells_on_a_torn_disk, args=arguments))
        processes[-1].start()
        sender.close()
        pipes.append(receiver)
    n_stale = sum(receiver.recv() for receiver in pipes)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * n_processes
    numbers = sorted(int(line.split()[0]) for line in (tmp_path / "computed").read_text().splitlines())
    assert numbers == list(range(100))
    runs = store.load_runs(results)
    for run in runs:
        assert check_everything_recorded_is_there(run.folder) == {"de", "es", "zh"}
    figure(
        f"{n_processes} processes × 100 cells on a network disk without locks, {n_stale} times ESTALE",
        f"{len(numbers)} computed, each once; {len(runs)} there",
    )
    assert len(runs) == 100 and n_stale > 10


def test_full_disk_keeps_what_was_there(tmp_path, figure):
    """A real one, if this process may mount it: a temporary file system of 64 kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        code = (
            "import sys; from pathlib import Path; from xeval.support.errors import XevalError\n"
            "from tests.helpers.results import *\n"
            "folder, record = Path(sys.argv[1]), run_record(scores={})\n"
            "for number in range(100):\n"
            "    try: record = add_language(folder, record, f'l{number}', logits_of(0, number))\n"
            "    except XevalError as error: print(number, error); break\n"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", code, disk / "run"]
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        number, _, message = process.stdout.rstrip("\n").partition(" ")
        assert "\n" not in message and "No space left on device" in message
        there = check_everything_recorded_is_there(disk / "run")
        assert there == {f"l{n}" for n in range(int(number))} and int(number) > 1
        figure("a file system of 64 kB that fills up", f"{number} results kept, 0 partial, one line")
    finally:
        subprocess.run(["umount", disk], check=True)
