"""A checkpoint with pickled weights, or without tokenizer.json → a folder that every command accepts.

Pickles are read in a separate process, `xeval.engine.unpickle`. The new folder appears whole or not at all.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xeval.data.model_files import Checkpoint, PickledModel, tokenizer_files
from xeval.data.model_folder import weight_files
from xeval.engine.loading import load_tokenizer, tied_tensors
from xeval.engine.tokenizer_files import split_by_files
from xeval.support.errors import ModelError
from xeval.support.files import check_ordinary
from xeval.support.text import one_line

_MAX_FILE_BYTES = 100_000_000_000
_SPARE = 1.1  # free disk space needed, as a multiple of the weights' bytes
_SLOWEST = 5_000_000  # bytes per second
# Texts that reveal most mistakes of a tokenizer: case, accents, scripts, marks, spaces, numbers.
SAMPLES = (
    "The quick brown fox, jumping over 13 lazy dogs!",
    "Ça va? L'été à Noël, Straße und Übergröße.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "ثعلب بني سريع يقفز فوق الكلب الكسول",
    "敏捷的棕色狐狸跳过了懒狗。東京タワー",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "สุนัขจิ้งจอกสีน้ำตาล  กระโดด",
    "Mbweha wa kahawia anaruka (haraka) – 50 %…",
)


@dataclass(frozen=True)
class Converted:
    """The result of a conversion."""

    folder: Path
    n_tensors: int | None  # converted from pickles; None if the weights were safetensors already
    made_tokenizer: bool  # whether tokenizer.json was made from the other tokenizer files


def convert(model: PickledModel, target: Path) -> Converted:
    """Convert a checkpoint with pickled weights or without tokenizer.json into `target`, a new or empty folder.

    Raise ModelError for weights that hold more than numbers, are damaged or are larger than they claim, and for a
    tokenizer that cannot be made with certainty. Nothing is left in `target` then.
    """
    has_safetensors = bool(weight_files(model.folder, model.id))
    needs_tokenizer = not (model.folder / "tokenizer.json").is_file()
    if has_safetensors and not needs_tokenizer:
        raise ModelError(
            f"model {model.id}: it has safetensors and a tokenizer.json, and needs no conversion; use it as it is"
        )
    with _appearing(target) as partial:
        for path in [model.folder / "config.json", *tokenizer_files(model.folder)]:
            shutil.copyfile(path, partial / path.name)
        n_tensors = None
        if has_safetensors:
            for path in [*weight_files(model.folder, model.id), *model.folder.glob("*.safetensors.index.json")]:
                shutil.copyfile(path, partial / path.name)
        else:
            n_tensors = _unpickle(model, partial)
        weight_files(partial, model.id)  # raises if config.json asks for a file of another name
        if needs_tokenizer:
            _make_tokenizer(_unhashed(model.id, partial))
    return Converted(target, n_tensors, needs_tokenizer)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a folder to write into, which replaces `target` once the block ends without an error.

    Raise ModelError if `target` is not new or empty, or if it cannot be written.
    """
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise ModelError(f"{target}: wanted a new or empty folder to write to, found something there; name another")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        partial.replace(target)
    except OSError as error:
        why = error.strerror or one_line(error)
        raise ModelError(f"{target}: cannot be written: {why}; free space, or name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpickle(model: PickledModel, output: Path) -> int:
    """Have the pickled weights written to `output` as safetensors; return the number of tensors."""
    n_bytes = 0
    for path in model.pickles:
        try:
            check_ordinary(path, _MAX_FILE_BYTES)
        except OSError as error:
            raise ModelError(f"model {model.id}: {path.name} cannot be read: {error.strerror}") from error
        n_bytes += path.stat().st_size
    free = shutil.disk_usage(output).free
    if free < _SPARE * n_bytes:
        raise ModelError(
            f"model {model.id}: converting needs {_SPARE * n_bytes / 1e9:,.1f} GB of disk, and {free / 1e9:,.1f} are"
            f" free in {output.parent}; free some, or name a folder elsewhere"
        )
    seconds = 300 + n_bytes // _SLOWEST
    asked = {
        "files": [str(path.resolve()) for path in model.pickles],
        "output": str(output.resolve()),
        "tied": tied_tensors(_unhashed(model.id, model.folder)),
        "seconds": seconds,
    }
    try:
        process = subprocess.run(
            [sys.executable, "-m", "xeval.engine.unpickle"],
            input=json.dumps(asked) + "\n",
            capture_output=True,
            text=True,
            timeout=4 * seconds,
            env=_environment(),
            cwd=output,
            check=False,
        )
        answer = json.loads(process.stdout.splitlines()[-1]) if process.stdout else {}
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"model {model.id}: converting took more than {4 * seconds:,} s, and was stopped") from error
    except ValueError:
        answer = {}
    if "n_tensors" in answer:
        return int(answer["n_tensors"])
    why = answer.get("refused") or f"reading its weights ended with {_ending(process.returncode)}; they may be damaged"
    raise ModelError(f"model {model.id}: {one_line(why)}")


def _unhashed(name: str, folder: Path) -> Checkpoint:
    """Return a checkpoint that is still incomplete and never used for a run."""
    return Checkpoint(name, "local", None, folder, "")


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    """Return the other process's environment: where the libraries are, but no token, no proxy and no address."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SYSTEMROOT")
    libraries = os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": libraries,
        "PYTHONSAFEPATH": "1",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _make_tokenizer(checkpoint: Checkpoint) -> None:
    """Have transformers make tokenizer.json from the other files, and save it if it splits texts as those do."""
    tokenizer = load_tokenizer(checkpoint, 1)
    split = split_by_files(checkpoint.id, checkpoint.folder, tokenizer.unk_token)
    for sample in SAMPLES:
        ids = tokenizer(sample, add_special_tokens=False)["input_ids"]
        got, expected = tokenizer.convert_ids_to_tokens(ids), split(sample)
        if got != expected:
            raise ModelError(
                f"model {checkpoint.id}: the tokenizer that transformers makes splits {sample[:30]!r} into"
                f" {one_line(' '.join(got))[:80]}, its own vocabulary into {one_line(' '.join(expected))[:80]}; add the"
                " tokenizer.json published with it"
            )
    tokenizer.save_pretrained(checkpoint.folder)
