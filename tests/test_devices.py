"""A run computes in the arithmetic that its record names."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from xeval.engine import devices
from xeval.engine.devices import Compute
from xeval.support.errors import XevalError

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


def test_last_of_two_threads_restores_precision(monkeypatch):
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: True)
    usual, compute = torch.get_float32_matmul_precision(), Compute(CPU, torch.float32)
    second_began, first_ended = threading.Event(), threading.Event()

    def first() -> None:
        with compute.matmuls():
            assert second_began.wait(10)
        first_ended.set()

    def second() -> str:
        with compute.matmuls():
            second_began.set()
            assert first_ended.wait(10)
            return torch.get_float32_matmul_precision()

    with ThreadPoolExecutor(2) as threads:
        ended, seen = threads.submit(first), threads.submit(second)
        ended.result()
        assert seen.result() == "medium"
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


@pytest.mark.parametrize("usual", ["highest", "high"])
def test_float32_on_a_gpu_is_not_tf32(usual):
    torch.set_float32_matmul_precision(usual)
    try:
        with Compute(torch.device("cuda"), torch.float32).matmuls():
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == usual
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with an A100 as cuda:0 and a T4 as cuda:1, whose tensors are a processor's."""
    properties = [SimpleNamespace(name="A100", major=8, minor=0), SimpleNamespace(name="T4", major=7, minor=5)]
    monkeypatch.setattr("torch.empty", lambda *sizes, device: torch.zeros(1))
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties",
        lambda device: properties[device if isinstance(device, int) else torch.device(device).index or 0],
    )


def test_dtype_depends_on_the_named_gpu(two_gpus):
    assert [devices.choose(f"cuda:{number}", "auto").dtype_name for number in (0, 1)] == ["bfloat16", "float32"]
    with pytest.raises(XevalError, match=r"^dtype: bfloat16 needs a GPU of .* 8\.0 or later, T4 has 7\.5; "):
        devices.choose("cuda:1", "bfloat16")


@pytest.mark.parametrize(
    ("device", "error", "said"),
    [
        ("cuda:2", "CUDA error: invalid device ordinal", ": torch sees 2 GPUs, numbered from cuda:0"),
        ("cuda", "CUDA error: out of memory\nCUDA kernel errors", r" \(CUDA error: out of memory\); see in nvidia-smi"),
        ("cuda:1", "CUDA error: all CUDA-capable devices are busy or unavailable", r" \(CUDA error: all .* use --dev"),
        ("cuda:1", "CUDA error: no kernel image is available for", ": torch .* has no kernels for T4, .* is 7.5; inst"),
    ],
)
def test_unusable_gpu_is_refused_with_the_reason(two_gpus, monkeypatch, device, error, said):
    def fail(*sizes, device):
        raise RuntimeError(error)

    monkeypatch.setattr("torch.empty", fail)
    with pytest.raises(XevalError, match=f"^device: '{device}' cannot be used here{said}"):
        devices.choose(device, "auto")


def test_device_is_used_before_it_is_accepted(two_gpus, monkeypatch):
    """A GPU that torch has no kernels for still gives memory."""

    class Unfilled(torch.Tensor):
        def fill_(self, value):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr("torch.empty", lambda *sizes, device: torch.zeros(1).as_subclass(Unfilled))
    with pytest.raises(XevalError, match="has no kernels for A100"):
        devices.choose("cuda", "float32")


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory",
        "MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB, max allowed: 6.80 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_lack_of_memory_is_recognised_by_words(words):
    assert devices.is_out_of_memory(RuntimeError(words))


def test_float32_is_exact_whatever_the_program_allows(monkeypatch):
    monkeypatch.setattr(devices, "onednn_is_exact", lambda: False)
    torch.set_float32_matmul_precision("medium")
    try:
        assert error_of_a_product(Compute(CPU, torch.float32)) < 1e-6
        with Compute(CPU, torch.float32).matmuls():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("backend", [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_precision_set_for_one_backend_stays_its_own(backend, device):
    """Torch then refuses to say what the precision of all backends is."""
    usual = backend.fp32_precision
    backend.fp32_precision = "tf32"
    try:
        with Compute(torch.device(device), torch.float32).matmuls():
            pass
        assert backend.fp32_precision == "tf32"
    finally:
        backend.fp32_precision = usual
    assert torch.get_float32_matmul_precision() == "highest"


def test_check_for_exact_products_is_one_of_float32():
    devices.onednn_is_exact.cache_clear()
    expected = devices.onednn_is_exact()
    devices.onednn_is_exact.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        assert devices.onednn_is_exact() == expected
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("usual", ["tf32", "none"])
def test_convolutions_in_float32_are_exact(usual, device):
    """As in DeBERTa v2 XL and ConvBERT; unless told otherwise, cuDNN computes them in TF32."""
    backend, [signal, weight] = torch.backends.cudnn.conv, torch.ones(2, 3, 3, 3)
    before, backend.fp32_precision = backend.fp32_precision, usual
    try:
        with Compute(torch.device(device), torch.float32).matmuls():
            assert backend.fp32_precision == torch.backends.mkldnn.conv.fp32_precision == "ieee"
            torch.nn.functional.conv1d(signal, weight)  # torch refuses some precisions together
        assert backend.fp32_precision == usual
    finally:
        backend.fp32_precision = before
