"""What can be made again but takes time: fine-tuned weights, trainings half done, encoded rows, corpora and unpacked
bundles, under XEVAL_CACHE.

Nothing in here is a result; all of it can be deleted at any time.
"""

import os
import shutil
from pathlib import Path
from typing import Literal, get_args

import platformdirs

from xeval.support.sealed import MANIFEST, checksums

Part = Literal["weights", "checkpoints", "encoded", "corpora", "bundles"]
WEIGHTS = "model.safetensors"  # the file in a folder of fine-tuned weights that records have the checksum of
PARTS: tuple[Part, ...] = get_args(Part)


def cache_home() -> Path:
    """XEVAL_CACHE, or `xeval` in the user's cache folder."""
    return Path(os.environ.get("XEVAL_CACHE") or platformdirs.user_cache_dir("xeval", appauthor=False)).expanduser()


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


def kept_weights(identity: str, weights_sha256: str) -> Path | None:
    """The folder of a run's fine-tuned weights, if they are there and what the record says they were."""
    folder = weights_folder(identity)
    return folder if (checksums(folder) or {}).get(WEIGHTS) == weights_sha256 else None


def find_weights(identity: str, weights_sha256: str) -> Path | None:
    """The same, or the folder of another run with these weights."""
    said = sorted(path.parent for path in (cache_home() / "weights").glob(f"*/{MANIFEST}"))
    others = [folder.name for folder in said if weights_sha256 in (folder / MANIFEST).read_text(errors="replace")]
    found = (kept_weights(name, weights_sha256) for name in dict.fromkeys([identity, *others]))
    return next((folder for folder in found if folder is not None), None)
