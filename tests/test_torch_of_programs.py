"""What a program has set in torch does not change what a run computes, and is as it was afterwards."""

from contextlib import contextmanager

import pytest
import torch

import xeval
from xeval.results.records import RunRecord

SHORT = {"overrides": {"epochs": 1.0}, "dtype": "float32", "device": "cpu", "languages": "es"}
OWN = {
    "gradients off": (torch.is_grad_enabled, torch.set_grad_enabled, False),
    "float64": (torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "another device": (torch.get_default_device, torch.set_default_device, torch.device("meta")),
    "fast products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
        "medium",
    ),
}


def run(mini, checkpoint_of, results) -> RunRecord:
    [record] = xeval.run(str(mini.task_file), str(checkpoint_of("bert")), data=mini.data, results=results, **SHORT)
    assert record.status == "complete"
    return record


@pytest.fixture(scope="module")
def expected(mini, checkpoint_of, tmp_path_factory):
    return run(mini, checkpoint_of, tmp_path_factory.mktemp("expected"))


@contextmanager
def own(name: str):
    current, put, value = OWN[name]
    usual = current()
    put(value)
    try:
        yield
        assert current() == value
    finally:
        put(usual)


@pytest.mark.parametrize("name", OWN)
def test_program_settings_change_no_number_and_stay(mini, checkpoint_of, tmp_path, expected, name):
    with own(name):
        record = run(mini, checkpoint_of, tmp_path)
    assert record.training.weights_sha256 == expected.training.weights_sha256
    assert record.scores["es"].predictions_sha256 == expected.scores["es"].predictions_sha256


def test_inference_mode_of_the_program_does_not_stop_training(mini, checkpoint_of, tmp_path, expected):
    with torch.inference_mode():
        record = run(mini, checkpoint_of, tmp_path)
        assert torch.is_inference_mode_enabled()
    assert record.training.weights_sha256 == expected.training.weights_sha256


def test_run_leaves_random_numbers_of_the_program_alone(mini, checkpoint_of, tmp_path):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    run(mini, checkpoint_of, tmp_path)
    assert torch.equal(torch.rand(3), wanted) and torch.initial_seed() == 7
