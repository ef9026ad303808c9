"""Which device computes, in which arithmetic."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache

import torch

from xeval.engine.ranks import refuse_device
from xeval.support.errors import XevalError
from xeval.support.process_settings import ProcessSetting
from xeval.support.text import counted

DTYPES = ("auto", "float32", "bfloat16")
_NARROWEST_IN_BFLOAT16 = 192  # hidden size; narrower ones measured slower to train, see docs/performance.md


def _multiply_by_onednn() -> str:
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    return usual


_ONEDNN = ProcessSetting(_multiply_by_onednn, torch.set_float32_matmul_precision)


@dataclass(frozen=True)
class Compute:
    """A device and the arithmetic of forward and backward passes on it. Weights are float32 throughout."""

    device: torch.device
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def in_float32(self) -> "Compute":
        return replace(self, dtype=torch.float32)

    def autocast(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def matmuls(self) -> AbstractContextManager[None]:
        """While this lasts, a processor's float32 matrix products are oneDNN's where these are exact: faster ones."""
        if self.device.type != "cpu" or self.dtype != torch.float32 or not onednn_is_exact():
            return nullcontext()
        return _ONEDNN.changed()

    def token_budget(self) -> int:
        """Tokens per evaluation batch: enough to keep the device busy, few enough to stay in a processor's caches, and
        on a GPU within the memory that training takes, whatever the arithmetic."""
        if self.device.type != "cuda":
            return 4_096
        return 32_768 if self.dtype == torch.float32 else 65_536

    def free_memory(self) -> None:
        """Give back what the allocator of a GPU keeps, after something did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def choose(device: str, dtype: str, hidden_size: int | None = None) -> Compute:
    """The device and arithmetic that the words mean; "auto" is a GPU if there is one, bfloat16 if it is fast there.

    On a processor that also depends on the encoder's `hidden_size`, if it is told: narrow ones stay in float32.
    """
    if dtype not in DTYPES:
        raise XevalError(f"dtype: wanted one of {', '.join(DTYPES)}, got {dtype!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).item()  # which "meta" has not
    except (RuntimeError, AssertionError) as error:
        raise XevalError(f"device: {device!r} cannot be used here{_why_not(device)}") from error
    refuse_device(chosen)
    if dtype == "auto":
        is_narrow = chosen.type == "cpu" and hidden_size is not None and hidden_size < _NARROWEST_IN_BFLOAT16
        dtype = "bfloat16" if _has_fast_bfloat16(chosen) and not is_narrow else "float32"
    if dtype == "bfloat16" and chosen.type == "cuda" and not _has_fast_bfloat16(chosen):
        raise XevalError(
            f"dtype: bfloat16 needs a GPU of compute capability 8.0 or later, {torch.cuda.get_device_name(chosen)} has"
            f" {'.'.join(map(str, torch.cuda.get_device_capability(chosen)))}; use --dtype float32"
        )
    return Compute(chosen, getattr(torch, dtype))


def _why_not(device: str) -> str:
    """Why torch refuses it, and what to do."""
    if not device.startswith("cuda"):
        return "; wanted auto, cpu or cuda"
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f": torch {torch.__version__} is a build for processors; install one for CUDA"
            " (https://pytorch.org/get-started/locally), or leave out --device"
        )
    n_devices = torch.cuda.device_count()
    if n_devices == 0:
        return ": torch sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES, or leave out --device"
    return f": torch sees {counted(n_devices, 'GPUs')}, numbered from cuda:0"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is: torch has a type for it on accelerators; its allocator for processors has only these words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 beats float32 there: by what the device is, not by a stopwatch, so that a run stays the same.

    A processor's avx512_bf16 is not enough: on an Intel one without AMX, matrix products measured 0.64 of the float32
    speed, where an AMD one gained half again.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 lacks it
    is_amd = "AMD" in str(capabilities.get("cpu_name", ""))
    return bool(capabilities.get("amx_bf16") or (capabilities.get("avx512_bf16") and is_amd))


@cache
def onednn_is_exact() -> bool:
    """Whether "medium" precision merely chooses oneDNN here, or computes in bfloat16, as it may where there is AMX."""
    some, other = torch.linspace(-1, 1, 2**18).view(2, 512, 256).sin().unbind()
    expected = some.double() @ other.double().T  # (512, 512)
    with _ONEDNN.changed():
        return bool(((some @ other.T).double() - expected).abs().max() < 1e-6 * expected.abs().max())
