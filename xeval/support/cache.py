"""The cache, under XEVAL_CACHE, of everything that can be computed again but takes time.

It holds fine-tuned weights, snapshots, encoded rows, corpora, copies of objects, unpacked bundles, measured speeds
and the numbers that ranks are computed from. Nothing in it is a result; all of it can be deleted at any time.
"""

import os
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import platformdirs

from xeval.support.files import found_in, in_home, read_ordinary, retried
from xeval.support.sealed import MANIFEST, checksums
from xeval.support.text import counted

Part = Literal["weights", "checkpoints", "encoded", "corpora", "objects", "bundles", "speeds", "ranks"]
WEIGHTS = "model.safetensors"  # the file in a folder of fine-tuned weights whose checksum records have
WEIGHTS_LIMIT_BYTES = 10e9
UNUSED_DAYS = 7  # weights used more recently stay, however much there is
PARTS: tuple[Part, ...] = get_args(Part)


def cache_home() -> Path:
    """Return XEVAL_CACHE, or `xeval` in the user's cache folder."""
    return in_home(os.environ.get("XEVAL_CACHE") or platformdirs.user_cache_dir("xeval", appauthor=False))


def own_home() -> Path:
    """Return a folder to use while the cache cannot be written, which is deleted when this process ends."""
    return Path(_own_folder().name)


@cache
def _own_folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="xeval-")


def free_bytes(folder: Path) -> int:
    """Return the free space of the disk that holds `folder`, or will hold it."""
    existing = next(place for place in (folder, *folder.absolute().parents) if _is_folder(place))
    return retried(lambda: shutil.disk_usage(existing)).free


def _is_folder(path: Path) -> bool:
    try:
        return retried(path.is_dir)
    except PermissionError:  # it is below a closed folder
        return False


def can_be_written(folder: Path) -> bool:
    """Return whether this process may write into `folder`, or make it if it does not exist yet."""
    existing = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    return retried(existing.is_dir) and os.access(existing, os.W_OK | os.X_OK)


def size_bytes(part: Part) -> int:
    return sum(path.stat().st_size for path in (cache_home() / part).rglob("*") if path.is_file())


def clear(part: Part) -> None:
    shutil.rmtree(cache_home() / part, ignore_errors=True)


def weights_folder(identity: str) -> Path:
    """Return where the fine-tuned weights of the run with this identity are, if they are still kept."""
    return cache_home() / "weights" / identity


def checkpoints_folder(identity: str, metric: str) -> Path:
    """Return where the run with this identity keeps the state of its training. One process at a time may hold it.

    The state has scores by `metric`, by which the training chooses its checkpoint.
    """
    return cache_home() / "checkpoints" / f"{identity}-{metric}"


def weights_in(folder: Path, weights_sha256: str) -> Path | None:
    """Return `folder` if the fine-tuned weights in it are intact and the record's; None otherwise."""
    return folder if (checksums(folder) or {}).get(WEIGHTS) == weights_sha256 else None


def kept_weights(identity: str, weights_sha256: str) -> Path | None:
    """Return the cache's folder of a run's fine-tuned weights, if they are intact and the record's; None otherwise.

    Note that they were used.
    """
    kept = weights_in(weights_folder(identity), weights_sha256)
    if kept is not None:
        with suppress(OSError):  # on a read-only disk
            (kept / MANIFEST).touch()  # for `forget_unused`
    return kept


def _manifests(part: Part, below: str) -> list[Path]:
    """Return the manifests of this part's sealed folders. A part that cannot be read counts as empty."""
    try:
        return found_in(cache_home() / part, below + MANIFEST)
    except OSError:
        return []


_FORGOTTEN = {  # part → what is said of so many of its folders
    "weights": ("training runs", "whose weights", "; --keep-weights keeps a run's weights in its folder"),
    "objects": ("copies of objects", "that", ""),
}


def forget_unused(part: Literal["weights", "objects"]) -> str:
    """Remove sealed folders of this part that have long been unused, the oldest first, while it exceeds its limit.

    Return what was removed, in one line; "" if nothing was.
    """
    now_s, entries = time.time(), []
    for manifest in _manifests(part, "**/"):
        with suppress(OSError):  # another process may be removing them
            size = sum(path.stat().st_size for path in manifest.parent.rglob("*") if path.is_file())
            entries.append((manifest.stat().st_mtime, size, manifest.parent))
    bytes_left, removed = sum(size for _, size, _ in entries), list[int]()
    for used_s, size, folder in sorted(entries):
        if bytes_left > WEIGHTS_LIMIT_BYTES and now_s - used_s > UNUSED_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
            bytes_left -= size
            removed.append(size)
    if not removed:
        return ""
    what, which, hint = _FORGOTTEN[part]
    return (
        f"removed from the cache: {counted(len(removed), what)} {which} nobody had used for {UNUSED_DAYS} days"
        f" ({sum(removed) / 1e9:.1f} GB), since those in it took more than {WEIGHTS_LIMIT_BYTES / 1e9:.0f} GB{hint}"
    )


def find_weights(identity: str, weights_sha256: str) -> Path | None:
    """Return what `kept_weights` does, or else the folder of another run with these weights; None if there is none."""
    others = []
    for manifest in _manifests("weights", "*/"):
        with suppress(OSError):  # another process may be removing it
            if weights_sha256.encode() in read_ordinary(manifest):
                others.append(manifest.parent.name)
    candidates = (kept_weights(name, weights_sha256) for name in dict.fromkeys([identity, *others]))
    return next((folder for folder in candidates if folder is not None), None)
