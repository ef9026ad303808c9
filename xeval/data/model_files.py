"""A pretrained model's files: found on the hub or on disk, and checksummed. Nothing is loaded."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from xeval.data.embedded import MODELS as EMBEDDED_MODELS
from xeval.data.hub import fetch
from xeval.definitions.registry import split_revision
from xeval.results.records import Origin
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


def check_model_name(name: str) -> None:
    """Raise UnknownNameError or ModelError for a name that can be no folder, alias or hub id; nothing is fetched."""
    if Path(name).expanduser().is_dir() or name in EMBEDDED_MODELS:
        return
    if Path(name).is_absolute() or name.startswith((".", "~")):
        raise ModelError(f"model {name}: wanted a folder with config.json and *.safetensors, found none there")
    split_revision(name)


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint that `name` means: a folder, an embedded model, an alias, or a hub id.

    The last two may carry `@revision`.

    Raises UnknownNameError for a name that can be none of these, ModelError for one that cannot be used.
    """
    check_model_name(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        resolved = folder.resolve()
        return Checkpoint(resolved.name, "local", None, resolved, _checksum(resolved, name))
    if name in EMBEDDED_MODELS:
        folder = EMBEDDED_MODELS[name]
        return Checkpoint(name, "embedded", None, folder, _checksum(folder, name))
    model_id, revision = split_revision(name)
    fetched, commit = fetch("model", model_id, revision, _PATTERNS)
    return Checkpoint(model_id, "hub", commit, fetched, _checksum(fetched, model_id))


def checkpoint_files(folder: Path) -> list[Path]:
    """The files in `folder` that determine what the checkpoint computes."""
    return sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})


def _checksum(folder: Path, name: str) -> str:
    """SHA-256 over the names and contents of the files that determine what the checkpoint computes."""
    paths = checkpoint_files(folder)
    if not any(path.name == "config.json" for path in paths):
        raise ModelError(f"model {name}: no config.json; wanted a transformers checkpoint")
    if not any(path.suffix == ".safetensors" for path in paths):
        raise ModelError(
            f"model {name}: no *.safetensors weights; pickled ones are not loaded because they can run code,"
            " so save the model again with save_pretrained"
        )
    _refuse_absurd(folder / "config.json", name)
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{file_sha256(path)};".encode())
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
