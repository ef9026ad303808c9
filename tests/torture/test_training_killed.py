"""Whole runs, killed or with a failing disk at any point: the next run ends with the same weights and results."""

import errno
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import training_victims as victim

from tests.helpers.killed import BRIEF, answer_unless_killed
from xeval.results import predictions, store
from xeval.support.text import counted


@pytest.fixture(scope="module")
def world_in(tmp_path_factory, mini, checkpoint_of):
    """`world_in(folder)`: a world in which nothing has run yet."""
    recipe = tmp_path_factory.mktemp("recipe") / "brief.toml"
    recipe.write_text(BRIEF)
    model = checkpoint_of("bert")
    return lambda folder: victim.World(folder, mini.task_file, mini.data, model, recipe)


@pytest.fixture(scope="module")
def run_in(victims, world_in):
    """`run_in(folder, **options)` runs there in a separate process: its answer, or None if it was killed."""

    def run(folder: Path, world=world_in, **options) -> victim.Answer | None:
        return answer_unless_killed(victims, victim.run_once, world(folder), **options)

    return run


@pytest.fixture(scope="module")
def whole(run_in, tmp_path_factory) -> victim.Answer:
    """An undisturbed run, whose process counted file operations without failing any."""
    answer = run_in(tmp_path_factory.mktemp("whole") / "run", nth=10**9, error=errno.EIO)
    assert (answer.outcome, len(answer.predictions), len(answer.saves)) == ("complete", 3, 6)
    return answer


def check_nothing_is_partial(folder: Path) -> None:
    """Every record can be read, and so can every prediction that it names."""
    for run_folder, record in ((run.folder, run.record) for run in store.load_runs(folder / "results")):
        for language, score in record.scores.items():
            predictions.load_predictions(run_folder, language, score.predictions_sha256)


def killed_and_run_again(run_in, folder: Path, **options) -> victim.Answer:
    assert run_in(folder, **options) is None, "it should have been killed"
    check_nothing_is_partial(folder)
    answer = run_in(folder)
    check_nothing_is_partial(folder)
    left = [path for pattern in ("*.tmp", "*.partial", "step-*") for path in folder.rglob(pattern)]
    assert [path for path in left if path.parent.name != "encoded"] == []  # those are removed after a day
    shutil.rmtree(folder)
    return answer


def places_in(saves: list[tuple[int, int]], n_places: int) -> list[int]:
    """`n_places` operations of each save, spread evenly over it."""
    return [
        first + (last - first) * place // max(1, n_places - 1) for first, last in saves for place in range(n_places)
    ]


@pytest.mark.parametrize("n_apart", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_run_killed_at_any_step_ends_identically(run_in, whole, tmp_path, figure, n_apart):
    n_steps = len(whole.saves)
    steps = range(n_apart, n_steps + 1, n_apart)
    answers = [killed_and_run_again(run_in, tmp_path / "run", kill_at_step=step) for step in steps]
    same = [answer.results() == whole.results() for answer in answers]
    figure(
        f"SIGKILL at {'each' if n_apart == 1 else 'some'} of the {n_steps} steps of a training run",
        f"{sum(same)} resumed, bit-identical",
    )
    assert all(same)
    steps_again = [len(answer.saves) for answer in answers]
    assert steps_again == [n_steps + 1 - step for step in steps], (
        "each goes on from the step before the one it was killed in"
    )


@pytest.fixture(scope="module")
def stopping_early(world_in, run_in, tmp_path_factory):
    """A world whose training stops early, in its sixth step of twelve, and the answer of an undisturbed run there."""
    recipe = tmp_path_factory.mktemp("patient") / "patient.toml"
    recipe.write_text(BRIEF.replace("2e-3", "1e-9").replace("epochs = 2", "epochs = 4") + "patience = 1\n")

    def world(folder: Path) -> victim.World:
        return replace(world_in(folder), recipe=recipe)

    whole = run_in(tmp_path_factory.mktemp("early") / "run", world)
    assert (whole.outcome, len(whole.saves)) == ("complete", 6)
    return world, whole


def signalled(victims, world: victim.World, number: int, moment: str, said: Path) -> tuple[int, list[str], list[int]]:
    """Exit code, printed lines and saved steps of a command that gets the signal at this moment."""
    receiver, sender = victims.Pipe(duplex=False)
    process = victims.Process(target=victim.signalled, args=(world, number, moment, said, sender))
    process.start()
    saved = receiver.recv()
    process.join()
    return process.exitcode, said.read_text().splitlines(), saved


# What is saved when the signal comes: a checkpoint, or the weights and the record.
CHECKPOINT = {"in a step": [4], "in the evaluation that ends it": [6]}
FAST = ("in the evaluation that ends it", "while the weights are written")


@pytest.mark.parametrize(
    "moment", [pytest.param(each, marks=[] if each in FAST else pytest.mark.slow) for each in victim.MOMENTS]
)
def test_signal_loses_no_training_step(victims, stopping_early, run_in, tmp_path, figure, moment):
    world, whole = stopping_early
    exits, n_more = [], set()
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / signal.Signals(number).name
        code, lines, saved = signalled(victims, world(folder), number, moment, tmp_path / "said")
        assert code == 128 + number, lines
        assert len(lines) == 1 and lines[0].startswith("xeval: ") and "the same command resumes" in lines[0]
        assert saved == CHECKPOINT.get(moment, [])
        check_nothing_is_partial(folder)
        answer = run_in(folder, world)
        assert answer.results() == whole.results()
        exits.append(code)
        n_more.add(len(answer.saves))
    assert n_more == {len(whole.saves) - saved[0] if saved else 0}, "it trains no step twice"
    codes, steps = " and ".join(map(str, exits)), counted(n_more.pop(), "steps")
    figure(f"SIGTERM and Ctrl-C {moment}", f"exit {codes}, one line; the next run trains {steps}, bit-identical")


def test_closed_terminal_ends_a_run_like_sigterm(victims, stopping_early, tmp_path):
    world, moment = stopping_early[0], "in the evaluation that ends it"
    code, lines, saved = signalled(victims, world(tmp_path / "run"), signal.SIGHUP, moment, tmp_path / "said")
    assert (code, saved) == (129, CHECKPOINT[moment])
    assert len(lines) == 1 and lines[0].startswith("xeval: its terminal was closed; finished and saved work is")


@pytest.mark.parametrize("n_places", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_run_killed_in_any_save_ends_identically(run_in, whole, tmp_path, figure, n_places):
    saves = whole.saves if n_places > 1 else whole.saves[1:4:2]
    places = places_in(saves, n_places) if n_places > 1 else [(first + last) // 2 for first, last in saves]
    answers = [killed_and_run_again(run_in, tmp_path / "run", nth=place) for place in places]
    same = [answer.results() == whole.results() for answer in answers]
    figure(
        f"SIGKILL at {n_places} points inside each of {len(saves)} saves", f"{sum(same)} of {len(same)} bit-identical"
    )
    assert all(same) and len(set(places)) == len(places)


@pytest.mark.slow
def test_run_killed_at_any_operation_ends_identically(run_in, whole, tmp_path, figure):
    places = range(1, whole.n_operations + 1)
    answers = [killed_and_run_again(run_in, tmp_path / "run", nth=place) for place in places]
    same = [answer.results() == whole.results() for answer in answers]
    figure(f"SIGKILL at each of the {len(same)} file operations of a run", f"{sum(same)} bit-identical")
    assert all(same)


@pytest.mark.parametrize("name", ["ENOSPC", pytest.param("EIO", marks=pytest.mark.slow)])
@pytest.mark.parametrize("every", [100, pytest.param(1, marks=pytest.mark.slow)])
def test_disk_failure_anywhere_loses_nothing(run_in, whole, tmp_path, figure, name, every):
    places = range(1, whole.n_operations + 1, every)
    for place in places:
        failed = run_in(tmp_path / "run", nth=place, error=getattr(errno, name))
        assert failed.outcome != "complete", "a disk that has failed for good takes no record"
        assert "\n" not in failed.outcome and os.strerror(getattr(errno, name)) in failed.outcome
        check_nothing_is_partial(tmp_path / "run")
        assert run_in(tmp_path / "run").results() == whole.results()
        shutil.rmtree(tmp_path / "run")
    what = f"{name} from {'each' if every == 1 else 'some'} of the {whole.n_operations} file operations of a run on"
    figure(what, f"{len(places)} times one line, 0 partial results, the next run identical")


@pytest.mark.slow
def test_torn_network_disk_repeats_no_training(victims, world_in, run_in, tmp_path, figure):
    world, n_processes, seeds = world_in(tmp_path / "shared"), 8, [1, 2, 3, 4, 5, 6]
    pipes, processes = [], []
    for number in range(n_processes):
        order = seeds[number % len(seeds) :] + seeds[: number % len(seeds)]
        receiver, sender = victims.Pipe(duplex=False)
        arguments = (world, order, tmp_path / "trained", sender)
        processes.append(victims.Process(target=victim.grid_on_a_torn_disk, args=arguments))
        processes[-1].start()
        sender.close()
        pipes.append(receiver)
    answers = [receiver.recv() for receiver in pipes]
    for process in processes:
        process.join()
    n_stale = sum(n for _, n in answers)
    assert [statuses for statuses, _ in answers] == [["complete"] * len(seeds)] * n_processes
    assert sorted((tmp_path / "trained").read_text().split()) == [str(seed) for seed in seeds]
    check_nothing_is_partial(tmp_path / "shared")
    runs = store.load_runs(tmp_path / "shared" / "results")
    what = f"{n_processes} processes over a grid of {len(seeds)} training runs there, {n_stale} times ESTALE"
    figure(what, f"each trained once, {len(runs)} runs complete")
    assert sorted(run.record.seed for run in runs) == seeds and n_stale > 0
