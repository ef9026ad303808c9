"""A pretrained model's files: found on the hub or on disk, and checksummed. Nothing is loaded."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from xeval.data.embedded import MODELS as EMBEDDED_FOLDERS
from xeval.data.hub import fetch
from xeval.data.model_folder import SIGNS, named_files, refuse_other_forms, refuse_pointers
from xeval.definitions.model_name import ModelName, Origin, PublishedBy
from xeval.support.errors import ModelError
from xeval.support.files import file_sha256
from xeval.support.text import one_line

_PATTERNS = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files on this machine."""

    id: str  # hub id, embedded model's name, or the folder's name
    origin: Origin
    revision: str | None
    folder: Path
    sha256: str
    published_as: str | None = None  # of a local one: the id that published tables know it by
    published_by: PublishedBy | None = None


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint that `name` means; the hub's is fetched, where it is not there yet.

    Raises UnknownNameError for a name that can be none, ModelError for a checkpoint that cannot be used.
    """
    parsed = ModelName.parse(name)
    if parsed.folder is not None:
        sha256, said = _checksum(parsed.folder, name, "local"), parsed.published_as
        return Checkpoint(parsed.id, "local", None, parsed.folder, sha256, said, "word" if said else None)
    if parsed.origin == "embedded":
        folder = EMBEDDED_FOLDERS[parsed.id]
        return Checkpoint(parsed.id, "embedded", None, folder, _checksum(folder, name, "embedded"))
    fetched, commit = fetch("model", parsed.id, parsed.revision, [*_PATTERNS, *SIGNS])
    named = named_files(fetched, parsed.id)
    if any(not (fetched / name).exists() for name in named):
        fetch("model", parsed.id, commit, named)
    return Checkpoint(parsed.id, "hub", commit, fetched, _checksum(fetched, parsed.id, "hub"))


def checkpoint_files(folder: Path, name: str) -> list[Path]:
    """The files in `folder` that determine what the checkpoint computes."""
    paths = {path for pattern in _PATTERNS for path in folder.glob(pattern)}
    paths |= {folder / named for named in named_files(folder, name)}
    return sorted(path for path in paths if path.is_file())


def _checksum(folder: Path, name: str, origin: Origin) -> str:
    """SHA-256 over the names and contents of the files that determine what the checkpoint computes."""
    paths = checkpoint_files(folder, name)
    refuse_pointers(paths, name)
    refuse_other_forms(folder, name, origin)
    _refuse_absurd(folder / "config.json", name)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}:{file_sha256(path)};".encode())
    return digest.hexdigest()


# A few words in config.json can ask for more than any machine has, before a single weight is read.
_MOST = {"num_labels": 100_000, "num_hidden_layers": 1000, "n_layers": 1000, "num_layers": 1000}


def _refuse_absurd(path: Path, name: str) -> None:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"model {name}: {path} is not readable as JSON: {one_line(error)[:200]}") from error
    for key, most in _MOST.items():
        value = config.get(key, 0) if isinstance(config, dict) else 0
        if isinstance(value, int) and value > most:
            raise ModelError(f"model {name}: {path} says that {key} is {value:,}; at most {most:,} is read")
