"""What can be made again but takes time: fine-tuned weights, trainings half done, encoded rows, corpora, copies of
objects, unpacked bundles, measured speeds and what ranks are computed from, under XEVAL_CACHE.

Nothing in here is a result; all of it can be deleted at any time.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from xeval.support.files import found_in, in_home, read_ordinary, retried
from xeval.support.sealed import MANIFEST, checksums
from xeval.support.text import counted

Part = Literal["weights", "checkpoints", "encoded", "corpora", "objects", "bundles", "speeds", "ranks"]
WEIGHTS = "model.safetensors"  # the file in a folder of fine-tuned weights that records have the checksum of
WEIGHTS_LIMIT_BYTES = 10e9
UNUSED_DAYS = 7  # weights that were used since then stay, however much there is
PARTS: tuple[Part, ...] = get_args(Part)


def cache_home() -> Path:
    """XEVAL_CACHE, or `xeval` in the user's cache folder."""
    return in_home(os.environ.get("XEVAL_CACHE") or platformdirs.user_cache_dir("xeval", appauthor=False))


def free_bytes(folder: Path) -> int:
    """How much the disk has left that holds `folder`, or will hold it."""
    existing = next(place for place in (folder, *folder.absolute().parents) if retried(place.is_dir))
    return retried(lambda: shutil.disk_usage(existing)).free


def size_bytes(part: Part) -> int:
    return sum(path.stat().st_size for path in (cache_home() / part).rglob("*") if path.is_file())


def clear(part: Part) -> None:
    shutil.rmtree(cache_home() / part, ignore_errors=True)


def weights_folder(identity: str) -> Path:
    """Where the fine-tuned weights of the run of this identity lie, if they are still kept."""
    return cache_home() / "weights" / identity


def checkpoints_folder(identity: str) -> Path:
    """Where the run of this identity keeps how far its training is, and what one process at a time may hold."""
    return cache_home() / "checkpoints" / identity


def weights_in(folder: Path, weights_sha256: str) -> Path | None:
    """`folder`, if the fine-tuned weights in it are whole and what a record says they were."""
    return folder if (checksums(folder) or {}).get(WEIGHTS) == weights_sha256 else None


def kept_weights(identity: str, weights_sha256: str) -> Path | None:
    """The folder of the cache with a run's fine-tuned weights, if they are there and what the record says they were."""
    kept = weights_in(weights_folder(identity), weights_sha256)
    if kept is not None:
        with suppress(OSError):  # on a disk that is only read
            (kept / MANIFEST).touch()  # for `forget_unused`
    return kept


def _manifests(part: Part, below: str) -> list[Path]:
    """Those of the sealed folders of this part; none where the disk does not let it be read, as if it were empty."""
    try:
        return found_in(cache_home() / part, below + MANIFEST)
    except OSError:
        return []


_FORGOTTEN = {  # part → what is said of so many of its folders
    "weights": ("trainings", "whose weights", "; --keep-weights keeps a run's weights in its folder"),
    "objects": ("copies of objects", "that", ""),
}


def forget_unused(part: Literal["weights", "objects"]) -> str:
    """Where this part, of sealed folders, takes more than its share of the disk, remove those that nobody has used for
    long, the oldest first. Says what was removed, in one line; "" if nothing was."""
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
    """The same, or the folder of another run with these weights."""
    others = []
    for manifest in _manifests("weights", "*/"):
        with suppress(OSError):  # another process may be removing it
            if weights_sha256.encode() in read_ordinary(manifest):
                others.append(manifest.parent.name)
    candidates = (kept_weights(name, weights_sha256) for name in dict.fromkeys([identity, *others]))
    return next((folder for folder in candidates if folder is not None), None)
