"""Where a run was executed: library versions, xeval's own commit, hardware and device."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch
import transformers

from xeval.engine.devices import Compute
from xeval.engine.ranks import current
from xeval.results.records import Environment
from xeval.support.version import VERSION

_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "huggingface-hub",
    "numpy",
    "pandas",
)

INVOCATION = uuid.uuid4().hex  # of this process


def describe(compute: Compute) -> Environment:
    commit, dirty = _own_commit()
    return Environment(
        versions={"python": platform.python_version(), **_versions()},
        commit=commit,
        dirty=dirty,
        hardware=_hardware(compute),
        device=str(compute.device),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ranks=current().size,
    )


@cache
def computation() -> str:
    """Return a SHA-256 of what computes fine-tuned weights: xeval's own code for it and the versions of its libraries.

    During development, xeval's version number stays the same for a long time, so it does not identify the code.
    """
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(f"{VERSION}:{torch.__version__}:{transformers.__version__}".encode())
    for path in sorted(path for folder in ("engine", "kinds") for path in (package / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}:".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _versions() -> dict[str, str]:
    versions = {"xeval": VERSION}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "not installed as a package"
    return versions


@cache
def _own_commit() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that xeval runs from, and whether tracked files differ from it.

    Git is asked only once, since this process keeps running the code that it has loaded.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    process = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return process.stdout


def _hardware(compute: Compute) -> dict[str, str | int]:
    hardware: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    if compute.device.type == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name(compute.device)
    return hardware


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
