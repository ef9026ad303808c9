"""A pretrained model's files: found on the hub or on disk, and checksummed. Nothing is loaded."""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xeval.data.embedded import MODELS as EMBEDDED_FOLDERS
from xeval.data.hub import cached_folder, check_download, fetch, missing_bytes
from xeval.data.model_folder import (
    PICKLE_INDEX,
    PICKLES,
    SIGNS,
    json_object,
    named_files,
    pickle_files,
    refuse_other_forms,
    refuse_pointers,
    refuse_without_config,
    weight_files,
)
from xeval.data.peft_adapter import CONFIG, Adapter, is_adapter, read_adapter
from xeval.definitions.model_name import ModelName, Origin, PublishedBy
from xeval.support.errors import DataError, ModelError, XevalError
from xeval.support.files import MAX_BYTES, file_sha256, read_ordinary, visible
from xeval.support.text import is_unicode, one_line

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
# For files other than weights, which libraries read as a whole, or several times, into many times the memory.
_MAX_OTHER_BYTES = 100_000_000
_MAX_SETTINGS_BYTES = 20_000_000
_PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json", *_TOKENIZER)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's files on this machine."""

    id: str  # hub id, embedded model's name, or the folder's name
    origin: Origin
    revision: str | None
    folder: Path  # with config.json and weights; for an adapter, the base's folder
    sha256: str
    adapter: Adapter | None = None  # the adapter that is merged into these weights
    base: "Checkpoint | None" = None  # of the adapter
    published_as: str | None = None  # of a local checkpoint: the id that published tables know it by
    published_by: PublishedBy | None = None
    # The checksums of the files that count, which `sha256` was made from.
    checksum_of: dict[Path, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def known_as(self) -> str:
        """The id that recipes know it by, which for a folder may be that of the published model that it holds."""
        return self.published_as or self.id

    @property
    def tokenizer_folder(self) -> Path:
        return self.adapter.folder if self.adapter is not None and self.adapter.has_tokenizer else self.folder

    def configuration(self) -> dict[str, Any]:
        """Return the content of config.json, with the names of an adapter's labels."""
        content = json_object(self.folder / "config.json", self.id)
        labels = self.adapter.labels if self.adapter is not None else {}
        return content | ({"id2label": {str(number): name for number, name in labels.items()}} if labels else {})

    def check_unchanged(self) -> None:
        """Raise ModelError if a file other than weights is no longer what `sha256` was made from.

        Weights are checked when they are read, since checking them takes long.
        """
        for path, checksum in self.checksum_of.items():
            if path.suffix != ".safetensors" and _sha256(path, self.id) != checksum:
                raise ModelError(f"model {self.id}: {path.name} {CHANGED}")


CHANGED = "has changed since this command started; wait until nothing changes it, and run the command again"


def _sha256(path: Path, model: str) -> str:
    try:
        sha256 = file_sha256(path, MAX_BYTES if path.suffix == ".safetensors" else _MAX_OTHER_BYTES)
        check_download(path, sha256)
    except OSError as error:
        raise ModelError(f"model {model}: {path} cannot be read: {error.strerror}; fix that") from error
    except DataError as error:
        raise ModelError(f"model {model}: {error}") from error
    return sha256


def find_checkpoint(name: str) -> Checkpoint:
    """Find the checkpoint that `name` means, an adapter together with its base. Fetch it from the hub if necessary.

    Raises UnknownNameError for a name that no model can have, ModelError for a checkpoint that cannot be used.
    """
    return _find(name)


def _find(name: str, of_adapter: bool = False) -> Checkpoint:
    """Find the checkpoint called `name`; if it is the base `of_adapter`, it cannot be an adapter too."""
    parsed = ModelName.parse(name)
    if parsed.folder is not None:
        if not is_unicode(str(parsed.folder)):  # on disk, names may be any bytes
            raise ModelError(f"model {one_line(ascii(str(parsed.folder)))}: its path is not UTF-8; rename it")
        local = _checkpoint(parsed.id, "local", None, parsed.folder, name, of_adapter)
        published_as = parsed.published_as
        return replace(local, published_as=published_as, published_by="word") if published_as else local
    if parsed.origin == "embedded":
        return _checkpoint(parsed.id, "embedded", None, EMBEDDED_FOLDERS[parsed.id], name, of_adapter)
    fetched, commit = fetch("model", parsed.id, parsed.revision, [*_PATTERNS, *SIGNS])
    named = named_files(fetched, parsed.id)
    if any(not (fetched / name).exists() for name in named):
        fetch("model", parsed.id, commit, named)
    return _checkpoint(parsed.id, "hub", commit, fetched, parsed.id, of_adapter)


def _checkpoint(
    model_id: str, origin: Origin, revision: str | None, folder: Path, name: str, of_adapter: bool
) -> Checkpoint:
    if not is_adapter(folder):
        own = _checksums(folder, name, origin)
        return Checkpoint(model_id, origin, revision, folder, _digest(own, folder), checksum_of=own)
    if of_adapter:
        raise ModelError(f"model {name}: it is a PEFT adapter itself, wanted a model with all its weights; merge it")
    adapter = read_adapter(folder, name)
    base = _base_of(adapter, name)
    own = _checksums_of_adapter(adapter, name)
    sha256 = _digest(own, folder, f"base:{base.sha256};{CONFIG}:{adapter.settings};")
    checksum_of = own | base.checksum_of
    return Checkpoint(model_id, origin, revision, base.folder, sha256, adapter, base, checksum_of=checksum_of)


def _base_of(adapter: Adapter, name: str) -> Checkpoint:
    beside = adapter.folder / adapter.base
    base = str(beside) if not Path(adapter.base).is_dir() and beside.is_dir() else adapter.base
    if adapter.base_revision and not Path(base).is_dir():
        base = f"{base}@{adapter.base_revision}"
    try:
        return _find(base, of_adapter=True)
    except XevalError as error:
        raise ModelError(
            f"model {name}: PEFT adapter of {one_line(adapter.base)[:120]}, its base: {one_line(error)}. If the base"
            f" is elsewhere, write its location into {CONFIG}, as base_model_name_or_path"
        ) from error


def glimpse(name: ModelName) -> Checkpoint | None:
    """Return the checkpoint that `name` means, without its checksum, if this machine has its files. Fetch nothing.

    None also for an adapter, whose folder lacks the base's weights. Raises ModelError for a folder without a model.
    """
    if name.origin == "embedded":
        folder: Path | None = EMBEDDED_FOLDERS[name.id]
    elif name.folder is not None:
        folder = name.folder
    else:
        folder = cached_folder("model", name.id, name.revision, ["config.json", "*.safetensors"])
    if folder is None or is_adapter(folder):
        return None
    origin = name.origin or "hub"
    try:
        refuse_other_forms(folder, name.id, origin)
    except ModelError:
        if origin != "hub":
            raise
        return None  # an interrupted download is continued later
    refuse_absurd_settings(folder / "config.json", name.id)
    return Checkpoint(name.id, origin, None, folder, "", published_as=name.published_as)


def missing_model_bytes(name: ModelName) -> int | None:
    """Return how many bytes of a model are still to be downloaded; None if that is unknown."""
    if name.origin != "hub" or glimpse(name) is not None:
        return 0
    return missing_bytes("model", name.id, name.revision, [*_PATTERNS, *SIGNS])


@dataclass(frozen=True)
class PickledModel:
    """A model to convert: its files on this machine, none of which has been read."""

    id: str
    folder: Path
    pickles: list[Path]  # its weights; empty if they are safetensors


def find_pickled(name: str) -> PickledModel:
    """Find the model that `name` means, with pickled weights or others. Fetch it from the hub if necessary.

    Raises UnknownNameError for a name that no model can have, ModelError for anything that cannot be converted.
    """
    parsed = ModelName.parse(name)
    if parsed.origin == "embedded":
        raise ModelError(f"model {parsed.id}: it comes with xeval, and needs no conversion")
    if parsed.folder is not None:
        folder = parsed.folder
    else:
        folder, commit = fetch("model", parsed.id, parsed.revision, [*_PATTERNS, *SIGNS])
        if not weight_files(folder, parsed.id):
            folder, _ = fetch("model", parsed.id, commit, [*_PATTERNS, *SIGNS, PICKLES, PICKLE_INDEX])
    if is_adapter(folder):
        raise ModelError(f"model {parsed.id}: a PEFT adapter; wanted a model with all its weights to convert")
    refuse_without_config(folder, parsed.id, parsed.origin or "local")
    refuse_absurd(folder, parsed.id)
    pickles = [] if weight_files(folder, parsed.id) else pickle_files(folder, parsed.id)
    if not pickles and not weight_files(folder, parsed.id):
        raise ModelError(f"model {parsed.id}: wanted pickled weights, {PICKLES}, and found none; check the model")
    refuse_pointers([*pickles, *tokenizer_files(folder)], parsed.id)
    return PickledModel(parsed.id, folder, pickles)


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files in `folder` that belong to its tokenizer."""
    return sorted({path for pattern in _TOKENIZER for path in visible(folder, pattern) if path.is_file()})


def checkpoint_files(folder: Path, name: str) -> list[Path]:
    """Return the files in `folder` that determine what the checkpoint computes."""
    paths = {path for pattern in _PATTERNS for path in visible(folder, pattern)}
    paths |= {folder / named for named in [*named_files(folder, name), CONFIG]}
    return sorted(path for path in paths if path.is_file())


def _checksums(folder: Path, name: str, origin: Origin) -> dict[Path, str]:
    """Return the SHA-256 of the files that determine what the checkpoint computes."""
    paths = checkpoint_files(folder, name)
    refuse_pointers(paths, name)
    refuse_other_forms(folder, name, origin)
    refuse_absurd(folder, name)
    return {path: _sha256(path, name) for path in paths}


def _checksums_of_adapter(adapter: Adapter, name: str) -> dict[Path, str]:
    """Return the same for an adapter's own files, except its configuration."""
    paths = [path for path in checkpoint_files(adapter.folder, name) if path.name != CONFIG]
    refuse_pointers(paths, name)
    refuse_absurd(adapter.folder, name)
    return {path: _sha256(path, name) for path in paths}


def _digest(checksum_of: Mapping[Path, str], folder: Path, before: str = "") -> str:
    """Return one SHA-256 over names and contents. The name and the place of a base are not part of it."""
    parts = (f"{path.relative_to(folder).as_posix()}:{checksum};" for path, checksum in checksum_of.items())
    return hashlib.sha256("".join([before, *parts]).encode()).hexdigest()


# A few words in these files can require more than any machine has, before a single weight is read.
_MOST_LAYERS, _MOST_ENTRIES, _MOST_ADDED_TOKENS, _MOST_GROWTH = 200, 10_000, 50_000, 1000
_MOST_PIECES, _MOST_CHARACTERS, _LONGEST_PIECE = 2_000_000, 10_000_000, 1000  # XLM-V has 0.9 million pieces
_MOST_AROUND = 1000
_MOST_STEPS = 1000
_LONGEST_EXPRESSIONS = 10_000  # characters of all regular expressions in a tokenizer; encoders have a few hundred
_MOST_NODES = 5_000_000  # of a Unigram vocabulary as a tree of bytes, 400 bytes of memory each; XLM-R has 0.8 million


def refuse_absurd(folder: Path, name: str) -> None:
    """Raise ModelError for a configuration or tokenizer that is not readable, or needs more than any machine has."""
    named = [folder / file for file in named_files(folder, name) if file.endswith(".json")]
    for path in [folder / "config.json", *named]:
        refuse_absurd_settings(path, name)
    for path in [*tokenizer_files(folder), *named]:
        if path.suffix == ".txt":
            _refuse_long_list(path, name)
        elif path.suffix == ".json":
            _refuse_absurd_tokenizer(path, name)


def _refuse_long_list(path: Path, name: str) -> None:
    try:
        n_lines = read_ordinary(path, _MAX_OTHER_BYTES).count(b"\n")
    except OSError as error:
        raise ModelError(f"model {name}: {path} cannot be read: {error.strerror}; fix that") from error
    if n_lines > _MOST_PIECES:
        raise ModelError(f"model {name}: {path.name} has {n_lines:,} lines; at most {_MOST_PIECES:,} are read")


def _refuse_absurd_tokenizer(path: Path, name: str) -> None:
    is_vocabulary = path.name in ("tokenizer.json", "vocab.json") or path.name.startswith("tokenizer.")
    content = json_object(path, name, _MAX_OTHER_BYTES if is_vocabulary else _MAX_SETTINGS_BYTES)
    for what, n, most in _sizes(path, content):
        if n > most:
            raise ModelError(f"model {name}: {path.name} {what.format(_short(n))}; at most {most:,} are read")


def _sizes(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield each thing that a tokenizer's file asks for, how much of it, and the limit.

    Each limit bounds the work of computing the next item.
    """
    added, pieces = _added(path, content), _pieces(path, content)
    yield "adds {} tokens", len(added), _MOST_ADDED_TOKENS
    yield "has {} pieces", len(pieces), _MOST_PIECES
    lengths = [*map(_length, pieces), *map(_length, added)]
    yield "has a piece of {} characters", max(lengths, default=0), _LONGEST_PIECE
    yield "has pieces of {} characters", sum(lengths), _MOST_CHARACTERS
    yield "has pieces with {} different prefixes", _count_nodes(content), _MOST_NODES
    parts = [content.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]
    yield "changes and splits texts in {} steps", sum(map(_count_steps, parts)), _MOST_STEPS
    yield "has regular expressions of {} characters", sum(map(_count_expressions, parts)), _LONGEST_EXPRESSIONS
    yield "puts {} pieces around a text", _count_around(content.get("post_processor")), _MOST_AROUND
    yield "has a normalizer that makes a text {} times as long", _growth(content.get("normalizer")), _MOST_GROWTH


def refuse_absurd_settings(path: Path, name: str) -> None:
    """Raise ModelError for a configuration for which transformers would need more memory than any machine has."""
    for key, value in _settings_in(json_object(path, name)):
        if not isinstance(value, int):
            if len(value) > _MOST_ENTRIES:
                raise ModelError(
                    f"model {name}: {path} has {len(value):,} entries in {key}; at most {_MOST_ENTRIES:,} are read"
                )
            continue
        least, most = _bounds(key)
        if not least <= value <= most:
            raise ModelError(f"model {name}: {path} says that {key} is {_short(value)}; wanted {least} to {most:,}")


def _settings_in(config: object) -> Iterator[tuple[str, int | Collection[Any]]]:
    """Yield whole numbers, lists and objects by their keys, including those of nested configurations."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, int | list | dict) and not isinstance(value, bool):
            yield key, value
        if isinstance(value, dict) and key not in ("id2label", "label2id"):
            yield from _settings_in(value)


def _bounds(key: str) -> tuple[int, float]:
    if key == "num_labels":
        return 0, _MOST_ENTRIES
    if re.search(r"(?:^|_)(?:n|num|encoder|decoder|hidden)_layers?$", key):
        return (1 if key in ("num_hidden_layers", "n_layers") else 0), _MOST_LAYERS
    return -math.inf, math.inf  # type: ignore[return-value]


def _short(number: int) -> str:
    return f"{number:,}" if abs(number) < 10**15 else "a number of more than 15 digits"


def _added(path: Path, content: dict[str, Any]) -> list[Any]:
    """Return the tokens that a file adds to its vocabulary: the longest of its lists of them."""
    lists = ("added_tokens", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens")
    values = [list(value.values()) for key in lists if isinstance(value := content.get(key), dict)]
    values += [value for key in lists if isinstance(value := content.get(key), list)]
    return max([*values, list(content) if path.name == "added_tokens.json" else []], key=len)


def _pieces(path: Path, content: dict[str, Any]) -> Collection[Any]:
    """Return the pieces of a vocabulary, or its merges if there are more of them."""
    if path.name == "vocab.json":
        return content
    model = content.get("model")
    values = [model.get("vocab"), model.get("merges")] if isinstance(model, dict) else []
    return max((each for each in values if isinstance(each, dict | list)), key=len, default=[])


def _length(piece: object) -> int:
    """Return the number of characters of a piece: alone, with its score, in two parts, or with settings."""
    if isinstance(piece, dict):
        piece = piece.get("content")
    if isinstance(piece, list):
        return sum(map(len, (part for part in piece if isinstance(part, str))))
    return len(piece) if isinstance(piece, str) else 0


def _count_nodes(content: dict[str, Any]) -> int:
    """Return an upper bound on the nodes, one for each prefix, of the library's tree of a Unigram vocabulary."""
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(vocabulary := model.get("vocab"), list):
        return 0
    pieces = [str(entry[0]).encode(errors="replace") for entry in vocabulary if isinstance(entry, list) and entry]
    n_bytes = sum(map(len, pieces))
    if n_bytes <= _MOST_NODES:
        return n_bytes
    pieces.sort()
    return n_bytes - sum(map(_shared_beginning, pieces, pieces[1:]))


def _shared_beginning(piece: bytes, other: bytes) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(piece, other, strict=False)) if a != b), min(len(piece), len(other))
    )


def _count_steps(part: object) -> int:
    """Return how many steps a tokenizer applies to a text one after the other."""
    if isinstance(part, dict):
        return 1 + sum(_count_steps(each) for each in part.values() if isinstance(each, list))
    return sum(map(_count_steps, part)) if isinstance(part, list) else 0


def _count_expressions(part: object) -> int:
    """Return the number of characters of the expressions, or the words, that a tokenizer looks for in texts."""
    if isinstance(part, list):
        return sum(map(_count_expressions, part))
    if not isinstance(part, dict):
        return 0
    pattern = part.get("pattern")
    own = pattern.values() if isinstance(pattern, dict) else [pattern]
    n_own = sum(len(each) for each in own if isinstance(each, str))
    return n_own + sum(map(_count_expressions, part.values()))


def _count_around(post_processor: object) -> int:
    """Return how many pieces may be put around a text: those in templates, each as many as its special token has."""
    if isinstance(post_processor, dict):
        return sum(map(_count_around, post_processor.values()))
    if isinstance(post_processor, list):
        return sum(1 + _count_around(part) for part in post_processor)
    return 0


def _growth(normalizer: object) -> int:
    """Return how many times as long a text may become: a chain of replacements multiplies."""
    if not isinstance(normalizer, dict):
        return 1
    parts = normalizer.get("normalizers")
    own = normalizer.get({"Replace": "content", "Prepend": "prepend"}.get(str(normalizer.get("type")), ""))
    own = max(1, len(own)) if isinstance(own, str) else 1
    return own * math.prod(map(_growth, parts if isinstance(parts, list) else ()))
