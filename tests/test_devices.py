"""A run computes in the arithmetic that its record names."""

from contextlib import ExitStack

import pytest
import torch

from xeval.engine import devices
from xeval.engine.devices import Compute

CPU = torch.device("cpu")


def error_of_a_product(compute: Compute) -> float:
    """The largest error of a matrix product against float64, relative to the largest entry."""
    generator = torch.Generator().manual_seed(0)
    some, other = torch.randn(300, 768, generator=generator), torch.randn(700, 768, generator=generator)
    with compute.matmuls(), compute.autocast():
        got = torch.nn.functional.linear(some, other)
    expected = some.double() @ other.double().T
    return float((got.double() - expected).abs().max() / expected.abs().max())


def test_products_have_the_precision_of_their_dtype():
    assert error_of_a_product(Compute(CPU, torch.float32)) < 1e-6
    assert 1e-4 < error_of_a_product(Compute(CPU, torch.bfloat16)) < 1e-2


def test_matmul_precision_is_restored_after_an_error():
    usual = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), Compute(CPU, torch.float32).matmuls():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == usual


def test_last_of_overlapping_uses_restores_precision(monkeypatch):
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: True)
    usual, (first, second) = torch.get_float32_matmul_precision(), (Compute(CPU, torch.float32).matmuls() for _ in "12")
    with ExitStack() as until_second_ends:
        with first:
            until_second_ends.enter_context(second)
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == usual == "highest"


def test_narrow_encoders_use_float32_by_default(monkeypatch):
    monkeypatch.setattr(devices, "_has_fast_bfloat16", lambda device: True)
    dtypes = {width: devices.choose("cpu", "auto", width).dtype_name for width in (128, 191, 192, 768, None)}
    assert dtypes == {128: "float32", 191: "float32", 192: "bfloat16", 768: "bfloat16", None: "bfloat16"}
    assert devices.choose("cpu", "bfloat16", 128).dtype_name == "bfloat16"  # an explicit choice is obeyed


def test_slow_bfloat16_is_not_used_by_default(monkeypatch):
    monkeypatch.setattr(devices, "_has_fast_bfloat16", lambda device: False)
    assert devices.choose("cpu", "auto", 768).dtype_name == "float32"


def test_inexact_fast_products_are_not_used(monkeypatch):
    """As on processors with AMX, where "medium" precision means bfloat16."""
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: False)
    usual = torch.get_float32_matmul_precision()
    with Compute(CPU, torch.float32).matmuls():
        assert torch.get_float32_matmul_precision() == usual
