"""SIGTERM and a first Ctrl-C are postponed where work would be lost, and never forgotten."""

import os
import signal

import pytest

from tests.helpers.tiny_training import model_of, recipe, train
from xeval.engine.snapshots import Snapshots
from xeval.support import termination
from xeval.support.termination import Terminated, postponed


@pytest.fixture(autouse=True)
def listening():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    termination.listen()
    yield
    termination.listen()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_postponed_sigterm_is_raised_at_the_end():
    reached = False
    with pytest.raises(Terminated), postponed() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        reached = True
    assert reached


def test_a_first_interrupt_waits_and_says_so(capfd):
    with pytest.raises(Terminated), postponed() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked() and termination.ended_by() == ("interrupted", 130)
    assert "press Ctrl-C again" in capfd.readouterr().err


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_as_second_signal_is_immediate(first):
    with pytest.raises(KeyboardInterrupt), postponed():
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_is_immediate_unless_postponed():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert termination.ended_by() == ("terminated by SIGTERM", 143)


def test_interrupt_ignored_by_the_shell_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for `xeval run … &` in a script
    termination.listen()
    with postponed() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked()


def test_error_takes_precedence_over_a_signal():
    with pytest.raises(ValueError), postponed():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError


@pytest.mark.parametrize("patience", [None, 1], ids=["last step", "patience"])
def test_sigterm_in_the_last_step_loses_nothing(tmp_path, patience):
    chosen = recipe(max_steps=9, evaluate_every_steps=3, patience=patience, selection="english-dev")
    expected = train(model_of(), chosen)
    last = expected.n_steps

    def terminate_at_the_end(loss: float, learning_rate: float, steps: list[float] = []) -> None:  # noqa: B006
        steps.append(loss)  # counts the calls
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        train(model_of(), chosen, on_step=terminate_at_the_end, snapshots=Snapshots(tmp_path))
    termination.listen()
    outcome = train(model_of(), chosen, snapshots=Snapshots(tmp_path))
    assert (outcome.n_steps, outcome.chosen_step) == (last, expected.chosen_step)
    assert outcome.loss_curve == expected.loss_curve
