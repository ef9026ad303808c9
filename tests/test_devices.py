"""The arithmetic of a run is the one that its record names."""

from contextlib import ExitStack

import pytest
import torch

from xeval.engine import devices
from xeval.engine.devices import Compute

CPU = torch.device("cpu")


def error_of_a_product(compute: Compute) -> float:
    """Of a matrix product by the definition in float64, relative to the largest entry."""
    generator = torch.Generator().manual_seed(0)
    some, other = torch.randn(300, 768, generator=generator), torch.randn(700, 768, generator=generator)
    with compute.matmuls(), compute.autocast():
        got = torch.nn.functional.linear(some, other)
    expected = some.double() @ other.double().T
    return float((got.double() - expected).abs().max() / expected.abs().max())


def test_float32_products_are_float32_products_and_bfloat16_ones_are_not():
    assert error_of_a_product(Compute(CPU, torch.float32)) < 1e-6
    assert 1e-4 < error_of_a_product(Compute(CPU, torch.bfloat16)) < 1e-2


def test_the_choice_of_products_ends_where_it_was_made():
    usual = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), Compute(CPU, torch.float32).matmuls():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == usual


def test_of_two_threads_the_last_to_end_puts_the_choice_back(monkeypatch):
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: True)
    usual, (first, second) = torch.get_float32_matmul_precision(), (Compute(CPU, torch.float32).matmuls() for _ in "12")
    with ExitStack() as until_second_ends:
        with first:
            until_second_ends.enter_context(second)
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == usual == "highest"


def test_narrow_encoders_are_computed_in_float32_and_others_in_bfloat16_where_it_is_fast(monkeypatch):
    monkeypatch.setattr(devices, "_has_fast_bfloat16", lambda device: True)
    dtypes = {width: devices.choose("cpu", "auto", width).dtype_name for width in (128, 191, 192, 768, None)}
    assert dtypes == {128: "float32", 191: "float32", 192: "bfloat16", 768: "bfloat16", None: "bfloat16"}
    assert devices.choose("cpu", "bfloat16", 128).dtype_name == "bfloat16"  # what is asked for is done


def test_no_encoder_is_computed_in_bfloat16_unasked_where_it_is_slow(monkeypatch):
    monkeypatch.setattr(devices, "_has_fast_bfloat16", lambda device: False)
    assert devices.choose("cpu", "auto", 768).dtype_name == "float32"


def test_where_faster_products_would_be_less_exact_they_are_left_alone(monkeypatch):
    """As on processors with AMX, where "medium" precision means bfloat16."""
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: False)
    usual = torch.get_float32_matmul_precision()
    with Compute(CPU, torch.float32).matmuls():
        assert torch.get_float32_matmul_precision() == usual
