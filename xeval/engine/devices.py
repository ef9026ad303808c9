"""The choice of the device and of the arithmetic to compute in."""

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache

import torch

from xeval.engine.ranks import refuse_device
from xeval.support.errors import XevalError
from xeval.support.process_settings import ProcessSetting
from xeval.support.text import counted, one_line

DTYPES = ("auto", "float32", "bfloat16")
_NARROWEST_IN_BFLOAT16 = 192  # hidden size; narrower encoders were slower to train, see docs/performance.md


_MATMULS = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # set at run time
_CONVOLUTIONS = torch.backends.cudnn.conv, torch.backends.mkldnn.conv  # type: ignore[attr-defined]  # set at run time
_BACKENDS = (*_MATMULS, *_CONVOLUTIONS)
_Precisions = tuple[str, list[str]]  # of float32 products: of all backends, and of each


def _set_precision(precision: str) -> _Precisions:
    """Set the precision of float32 products, exact in convolutions; return the precisions that were set before."""
    usual = "highest"
    with suppress(RuntimeError):  # one backend's was set by itself
        usual = torch.get_float32_matmul_precision()
    own = [backend.fp32_precision for backend in _BACKENDS]
    torch.set_float32_matmul_precision(precision)
    for convolution in _CONVOLUTIONS:  # which cuDNN computes in TF32 unless told otherwise
        convolution.fp32_precision = "ieee"
    return usual, own


def _set_precisions(precisions: _Precisions) -> None:
    usual, own = precisions
    torch.set_float32_matmul_precision(usual)
    for backend, precision in zip(_BACKENDS, own, strict=True):
        backend.fp32_precision = precision


_EXACT = ProcessSetting(lambda: _set_precision("highest"), _set_precisions)  # a program may have allowed less
_ONEDNN = ProcessSetting(lambda: _set_precision("medium"), _set_precisions)


@dataclass(frozen=True)
class Compute:
    """A device and the arithmetic of forward and backward passes on it. Weights are always float32."""

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
        """While this lasts, compute float32 products exactly, whatever precision the program allows: on a GPU without
        TF32, on a processor with oneDNN, which is faster, if it is exact."""
        if self.dtype != torch.float32:
            return nullcontext()
        return (_ONEDNN if self.device.type == "cpu" and onednn_is_exact() else _EXACT).changed()

    def token_budget(self) -> int:
        """Return the number of tokens per evaluation batch.

        It is large enough to keep the device busy, and small enough to stay in a processor's caches or, on a GPU,
        within the memory that training takes in any arithmetic.
        """
        if self.device.type != "cuda":
            return 4_096
        return 32_768 if self.dtype == torch.float32 else 65_536

    def token_granule(self) -> int:
        """Return what the number of tokens in a packed batch is made a multiple of; 0 if it stays as it is.

        On a processor, oneDNN compiles its bfloat16 products for each number of tokens, which takes milliseconds for
        each, and keeps only the last thousand.
        """
        return 32 if self.device.type == "cpu" and self.dtype == torch.bfloat16 else 0

    def free_memory(self) -> None:
        """Release the memory that a GPU's allocator caches."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def choose(device: str, dtype: str, hidden_size: int | None = None) -> Compute:
    """Return the device and arithmetic for these names.

    A device "auto" is a GPU if there is one; a dtype "auto" is bfloat16 if it is fast on the device. On a processor,
    this also depends on the encoder's `hidden_size`, if given: narrow encoders stay in float32. Raise XevalError for a
    device or dtype that cannot be used here.
    """
    if dtype not in DTYPES:
        raise XevalError(f"dtype: wanted one of {', '.join(DTYPES)}, got {dtype!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        # Fails on "meta", which holds no data, and on a GPU that this build of torch has no kernels for.
        torch.empty(1, device=chosen).fill_(1).item()
    except (RuntimeError, AssertionError) as error:
        raise XevalError(f"device: {device!r} cannot be used here{_why_not(device, error)}") from error
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


def _why_not(device: str, error: Exception) -> str:
    """Return why torch refuses the device with this `error`, and what to do."""
    if not device.startswith("cuda"):
        return "; wanted auto, cpu or cuda"
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f": torch {torch.__version__} is a CPU-only build; install one for CUDA"
            " (https://pytorch.org/get-started/locally), or leave out --device"
        )
    n_devices = torch.cuda.device_count()
    if n_devices == 0:
        return ": torch sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES, or leave out --device"
    number = device.removeprefix("cuda").removeprefix(":") or "0"
    if not number.isdecimal() or int(number) >= n_devices:
        return f": torch sees {counted(n_devices, 'GPUs')}, numbered from cuda:0"
    if "no kernel image" in str(error):
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        return (
            f": torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(device)}, whose compute"
            f" capability is {capability}; install a build that has (https://pytorch.org/get-started/locally), or use"
            " --device cpu"
        )
    reason = one_line(str(error).partition("\n")[0])[:200]
    return f" ({reason}); see in nvidia-smi whether other processes use it, or use --device cpu"


# How allocators and libraries say that memory ran out, where torch has no type for it: on a processor, on Apple's GPUs,
# and outside its own allocator on others.
_NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory ran out, by its type or its words."""
    is_of_type = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_of_type or any(words in str(error) for words in _NO_MEMORY)


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 beats float32 on the device, by its features and not by timing, so that runs repeat.

    On a processor, avx512_bf16 is not enough: on an Intel one without AMX, bfloat16 matrix products ran at 0.64 of the
    float32 speed, whereas an AMD one gained half again.
    """
    if device.type == "cuda":
        # Not torch.cuda.is_bf16_supported, which answers for the current device, and this may be another.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    capabilities = processor_capabilities()
    is_amd = "AMD" in str(capabilities.get("cpu_name", ""))
    return bool(capabilities.get("amx_bf16") or (capabilities.get("avx512_bf16") and is_amd))


@cache
def processor_capabilities() -> dict[str, object]:
    """Return the name of this processor and which instructions it has, as far as torch says so."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11 lacks it
    return capabilities


@cache
def onednn_is_exact() -> bool:
    """Return whether "medium" precision only selects oneDNN here, and not bfloat16, as it may with AMX."""
    some, other = torch.linspace(-1, 1, 2**18, dtype=torch.float32).view(2, 512, 256).sin().unbind()
    expected = some.double() @ other.double().T  # (512, 512)
    with _ONEDNN.changed():
        return bool(((some @ other.T).double() - expected).abs().max() < 1e-6 * expected.abs().max())
