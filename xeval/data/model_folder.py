"""Inspection of a model's folder before anything is loaded from it: which files are read, and what else it may be."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from xeval.support.errors import ModelError
from xeval.support.files import opened, read_ordinary, visible
from xeval.support.json_text import parse_json
from xeval.support.text import counted, one_line

SIGNS = ("adapter_config.json", "modules.json")  # files that show that a folder is something else, and what

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_INDEX_ENDING = ".index.json"
_MAX_JSON_BYTES = 50_000_000  # the index of a model with very many tensors
_MOST_LISTS = 5_000_000  # in a file of JSON; each takes 25 times its bytes in memory
PICKLE, PICKLES, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model*.bin", "pytorch_model.bin.index.json"
# Keys of tokenizer_config.json that transformers hands to the tokenizer, which treats text as the path of a file.
_OPENED = ("vocab", "merges", "init_inputs")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def named_files(folder: Path, model: str) -> list[str]:
    """Return the names, relative to `folder`, of files that are read because another file names them.

    Raises ModelError for a name that leads out of the folder.
    """
    config = json_object(folder / "config.json", model)
    names = [(name, "config.json") for name in _listed(config, "configuration_files")]
    tokenizer = json_object(folder / "tokenizer_config.json", model)
    names += [(name, "tokenizer_config.json") for name in _listed(tokenizer, "fast_tokenizer_files")]
    for key in _OPENED:
        if isinstance(tokenizer.get(key), str) or _listed(tokenizer, key):
            raise ModelError(
                f"model {model}: tokenizer_config.json has {key}, which would be opened as a file wherever it is;"
                " remove it, and put the files next to config.json"
            )
    start = config.get("transformers_weights")
    if start is not None:
        names.append((start, "config.json"))
        _refuse_outside(start, "config.json", model)
    elif not (folder / _WEIGHTS).exists():
        start = _INDEX
    if isinstance(start, str) and start.endswith(_INDEX_ENDING):
        shards = json_object(folder / start, model).get("weight_map", {})
        names += [(name, start) for name in (shards.values() if isinstance(shards, dict) else ())]
    for name, source in names:
        _refuse_outside(name, source, model)
        if source.endswith(_INDEX_ENDING) and not name.endswith(".safetensors"):
            raise ModelError(f"model {model}: {source} names {one_line(name)[:100]}; wanted *.safetensors")
    return sorted({name for name, _ in names})


def weight_files(folder: Path, model: str) -> list[Path]:
    """Return the files that the weights are read from, if there are any. Raises ModelError if some are missing."""
    start = json_object(folder / "config.json", model).get("transformers_weights")
    if start is None and (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    names = [name for name in named_files(folder, model) if name.endswith(".safetensors")]
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise ModelError(
            f"model {model}: it lacks {len(absent)} of {counted(len(names), 'files of weights')} (first"
            f" {one_line(absent[0])[:100]}); fetch it again"
        )
    return [folder / name for name in names]


def pickle_files(folder: Path, model: str) -> list[Path]:
    """Return the files of pickled weights, if there are any, without reading them.

    Raises ModelError for an index that leads out of the folder, or to files that are not there.
    """
    index = json_object(folder / PICKLE_INDEX, model)
    if not index or (folder / PICKLE).is_file():
        return sorted(folder.glob(PICKLES))
    shards = index.get("weight_map", {})
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    for name in names:
        _refuse_outside(name, PICKLE_INDEX, model)
        if not (folder / name).is_file():
            raise ModelError(f"model {model}: {PICKLE_INDEX} names {one_line(name)[:100]}, which is not there")
    return [folder / name for name in names]


def refuse_other_forms(folder: Path, model: str, origin: str) -> None:
    """Raise ModelError for a folder that holds something other than a checkpoint, saying what it is and what to do."""
    refuse_without_config(folder, model, origin)
    if not weight_files(folder, model):
        raise ModelError(f"model {model}: {_without_weights(folder, model, origin)}")


def refuse_without_config(folder: Path, model: str, origin: str) -> None:
    """Raise ModelError for a folder without config.json, saying what to do."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {model}: {_without_config(folder, origin)}")


def refuse_pointers(paths: list[Path], model: str) -> None:
    """Raise ModelError for a pointer that Git LFS has put in the place of the file itself."""
    for path in paths:
        try:
            with opened(path) as file:
                start = file.read(len(_LFS_POINTER))
        except OSError as error:
            raise ModelError(f"model {model}: {path} cannot be read: {error.strerror}; fix that") from error
        if start == _LFS_POINTER:
            raise ModelError(
                f"model {model}: {path.name} is a Git LFS pointer, not the file itself; run git lfs pull in its folder"
            )


def json_object(path: Path, model: str, max_bytes: int = _MAX_JSON_BYTES) -> dict[str, Any]:
    """Read the JSON object in `path`; empty if there is no such file. Raises ModelError for other content."""
    if not path.is_file():
        return {}
    try:
        text = read_ordinary(path, max_bytes).decode()
        if (n_lists := text.count("[") + text.count("{")) > _MOST_LISTS:
            raise ModelError(
                f"model {model}: {path} has {n_lists:,} lists and objects; at most {_MOST_LISTS:,} are read"
            )
        content = parse_json(text)
    except (OSError, ValueError, RecursionError) as error:
        is_of_bytes = isinstance(error, UnicodeDecodeError) or "BOM" in str(error)
        advice = "; save it as UTF-8 without a byte order mark" if is_of_bytes else ""
        raise ModelError(f"model {model}: {path} is not readable as JSON: {one_line(error)[:200]}{advice}") from error
    if not isinstance(content, dict):
        raise ModelError(f"model {model}: {path} is not a JSON object of settings; fetch it again")
    return content


def _listed(content: dict[str, Any], key: str) -> list[Any]:
    names = content.get(key)
    return names if isinstance(names, list) else []


def _refuse_outside(name: Any, source: str, model: str) -> None:
    path = PurePosixPath(name) if isinstance(name, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or "\\" in str(path) or ":" in str(path):
        raise ModelError(
            f"model {model}: {source} names the file {one_line(repr(name))[:100]}; wanted one in the model's own folder"
        )


def _without_config(folder: Path, origin: str) -> str:
    below = list(_models_below(folder))
    if not below:
        return "no config.json; wanted a transformers checkpoint"
    what = "a sentence-transformers folder" if (folder / "modules.json").exists() else "no config.json in the folder"
    if origin == "hub":
        return f"{what}; the encoder is in its sub-folder {below[0]}: fetch the model, and give that folder"
    also = f" (also {', '.join(map(str, below[1:4]))})" if below[1:] else ""
    return f"{what}; the encoder is in {below[0]}{also}: give {folder / below[0]}"


def _models_below(folder: Path) -> Iterator[str]:
    """Yield the sub-folder that sentence-transformers names as the model, or else every known one with a model."""
    modules = []
    if (folder / "modules.json").is_file():
        try:
            modules = json.loads(read_ordinary(folder / "modules.json", _MAX_JSON_BYTES))
        except (OSError, ValueError, RecursionError):
            modules = []
    for module in modules if isinstance(modules, list) else []:
        if isinstance(module, dict) and str(module.get("type", "")).endswith("Transformer") and module.get("path"):
            yield one_line(module["path"])[:100]
            return
    for pattern in ("*/config.json", "snapshots/*/config.json"):  # the second is the hub's cache
        yield from (one_line(path.parent.relative_to(folder))[:100] for path in sorted(folder.glob(pattern)))


def _without_weights(folder: Path, model: str, origin: str) -> str:
    others = [path.name for path in visible(folder, "*.safetensors")]
    if _WEIGHTS in others:
        return f"{_WEIGHTS} is not a file, but a folder or a broken link; put the weights in its place"
    if others:
        return f"its weights are called {one_line(others[0])[:100]}; transformers reads {_WEIGHTS}, so rename them"
    if any(folder.glob(PICKLES)):
        return (
            "no *.safetensors weights; pickled ones are not loaded because they can run code. Convert them safely:"
            f" xeval convert {shlex.quote(str(folder))} DIR"
        )
    if origin == "hub":
        return (
            "no *.safetensors weights on the hub (or, where it cannot be reached, in the cache); pickled ones are not"
            f" fetched because they can run code. Convert them safely, and give the folder: xeval convert {model} DIR"
        )
    files = sorted(
        path.name for pattern in ("*.h5", "*.msgpack", "*.onnx", "*.pt", "*.ckpt*") for path in folder.glob(pattern)
    )
    got = f", found {one_line(files[0])[:100]}" if files else ""
    return f"no *.safetensors weights{got}; save the model again with transformers' save_pretrained"
