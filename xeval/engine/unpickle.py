"""A separate process that converts pickled weights to safetensors; run it as `python -m xeval.engine.unpickle`.

It reads only numbers (`weights_only`). Should that protection fail, an audit hook keeps any code that is run from the
network and from other programs, and resource limits keep it from the machine's memory. After the hook is set, nothing
is imported that reads from the weights' folder. The process reads one line of JSON and writes one.
"""

import json
import re
import resource
import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open

from xeval.support.memory_limit import mapped_bytes

# Events in https://docs.python.org/3/library/audit_events.html that reading and writing tensors never raises.
_FORBIDDEN = (
    *("socket.", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.startfile"),
    *("os.kill", "os.putenv", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.chown", "pty.spawn"),
    *("subprocess.", "shutil.", "ftplib.", "urllib.", "http.", "smtplib.", "pickle.find_class", "sys.addaudithook"),
)
_GLOBAL = re.compile(r"(?:GLOBAL|[Uu]nsupported class) (\S+)")  # torch's messages about objects that are not tensors
_SPARE_BYTES = 2_000_000_000


class RefusedError(Exception):
    """The reason why weights are not converted."""


def main() -> None:
    """Read the request from standard input, carry it out, and write the result to standard output."""
    asked = json.loads(sys.stdin.readline())
    files, output = [Path(file) for file in asked["files"]], Path(asked["output"])
    sizes = [file.stat().st_size for file in files]
    _limit(sum(sizes), asked["seconds"])
    sys.addaudithook(forbid)
    answer: dict[str, int | str]
    try:
        n_tensors = rewrite(files, output, asked["tied"])
        answer = {"n_tensors": n_tensors}
    except RefusedError as refused:
        answer = {"refused": str(refused)}
    except MemoryError:
        answer = {"refused": f"the weights ask for more memory than their {sum(sizes):,} bytes account for"}
    except Exception as error:  # torch may raise anything for untrusted files
        text = " ".join(str(error).split())
        answer = {"refused": f"its weights cannot be read ({type(error).__name__}: {text[:160]})"}
    print(json.dumps(answer), flush=True)


def _limit(n_bytes: int, seconds: int) -> None:
    """Limit memory, processor time and the size of written files to what `n_bytes` of weights need."""
    mapped = 0
    with suppress(OSError):  # without /proc, the memory already mapped is unknown
        mapped = mapped_bytes()
    limits = {
        resource.RLIMIT_DATA: mapped + 3 * n_bytes + _SPARE_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 2 * n_bytes + 1_000_000,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        with suppress(ValueError, OSError):  # a stricter limit is set already
            resource.setrlimit(kind, (most, most))


def forbid(event: str, _: tuple[Any, ...]) -> None:
    """Raise RefusedError for an event that reading and writing numbers never raises. Audit hooks cannot be removed."""
    if event.startswith(_FORBIDDEN):
        raise RefusedError(f"its weights asked for {event}, which plain numbers never do; they are not converted")


def rewrite(files: Sequence[Path], output: Path, tied: Mapping[str, str]) -> int:
    """Write the tensors of the pickled `files` to `output` as safetensors, and return how many there are.

    Of tied tensors, those that are a second name according to `tied` are left out. Raise RefusedError.
    """
    n_bytes = sum(file.stat().st_size for file in files)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        for name, tensor in _read(file).items():
            if name in tensors:
                raise RefusedError(f"two files have the tensor {name[:100]!r}")
            tensors[name] = tensor
    _refuse_inflated(tensors, n_bytes)
    kept = _apart(tensors, tied)
    save_torch_state_dict(kept, output, metadata={"format": "pt"})
    _compare(kept, output)
    return len(kept)


def _read(file: Path) -> dict[str, torch.Tensor]:
    # Files from before torch 1.6 are not archives, and cannot be mapped.
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse tensor")  # such tensors are refused below anyway
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (RefusedError, MemoryError):
        raise
    except Exception as error:
        match = _GLOBAL.search(str(error))
        if match:
            raise RefusedError(
                f"{file.name} holds more than numbers ({match[1][:80]}), which could run code; it is not converted"
            ) from error
        raise RefusedError(
            f"{file.name} cannot be read as weights ({type(error).__name__}); it may be cut off, so fetch it again"
        ) from error
    if not isinstance(content, dict) or not content:
        raise RefusedError(f"{file.name} holds no tensors by name, as a state_dict does")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise RefusedError(
                f"{file.name} holds {type(value).__name__} under {str(name)[:80]!r}; wanted tensors by name, as"
                " model.state_dict() gives them"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise RefusedError(f"{file.name} holds {name[:80]!r}, which is not a plain tensor of numbers")
    return dict(content)


def _refuse_inflated(tensors: Mapping[str, torch.Tensor], n_bytes: int) -> None:
    """Raise RefusedError for tensors larger than the files: a few bytes can describe a tensor of any size."""
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise RefusedError(f"{name[:80]!r} is larger than what is stored of it")
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    described = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if sum(stored.values()) > n_bytes or described > 2 * n_bytes:  # a model may tie its largest tensor
        most = max(described, sum(stored.values()))
        raise RefusedError(f"its tensors have {most:,} bytes, but the files only {n_bytes:,}")


def _apart(tensors: Mapping[str, torch.Tensor], tied: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Return the tensors so that no two share memory: leave out tied second names and copy the rest where needed."""
    kept: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        other = tensors.get(tied.get(name, ""))
        if other is not None and _is_same(tensor, other):
            continue
        storage = tensor.untyped_storage()
        is_whole = storage.nbytes() == tensor.numel() * tensor.element_size() and storage.data_ptr() not in seen
        kept[name] = tensor.contiguous() if is_whole else tensor.clone(memory_format=torch.contiguous_format)
        seen.add(storage.data_ptr())
    return kept


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.data_ptr(), one.shape, one.stride(), one.dtype) == (
        (other.data_ptr(), other.shape, other.stride(), other.dtype)
    )


def _compare(kept: Mapping[str, torch.Tensor], output: Path) -> None:
    """Read every written byte again and raise RefusedError if any differs."""
    written: set[str] = set()
    for file in sorted(output.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.offset_keys():
                again, tensor = tensors.get_tensor(name), kept[name]
                same = again.dtype == tensor.dtype and again.shape == tensor.shape
                if not same or not torch.equal(again.flatten().view(torch.uint8), tensor.flatten().view(torch.uint8)):
                    raise RefusedError(f"{name[:80]!r} was not written as it was read; check the disk")
                written.add(name)
    if written != set(kept):
        raise RefusedError(f"{len(set(kept) - written)} tensors were not written")


if __name__ == "__main__":
    main()
