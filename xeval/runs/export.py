"""A run's fine-tuned weights as a folder that transformers loads, and that `xeval run --no-train` evaluates."""

import shutil
from pathlib import Path

from xeval.data.model_files import find_checkpoint, tokenizer_files
from xeval.results.store import StoredRun, own_weights
from xeval.support.cache import find_weights, weights_in
from xeval.support.errors import StoreError
from xeval.support.files import end_of_links, in_home
from xeval.support.sealed import MANIFEST, partial_of, sealing

_OF_WEIGHTS = {"config.json", "model.safetensors"}


def export(run: StoredRun, folder: Path) -> None:
    """Write weights, configuration with the names of the labels, and tokenizer into `folder`, all or nothing.

    Raises StoreError for a run that trained nothing or whose weights are no longer kept, and for a folder that is not
    empty.
    """
    folder = end_of_links(in_home(folder))
    _refuse_taken(folder)
    record = run.record
    if record.training is None:
        raise StoreError(f"{run.folder}: nothing was trained in it; it evaluated {record.model.id} as it is")
    sha256 = record.training.weights_sha256
    kept = weights_in(own_weights(run.folder), sha256) or find_weights(record.identity, sha256)
    if kept is None:
        raise StoreError(
            f"{run.folder}: its fine-tuned weights are no longer in the cache; run it again with another --results"
            " folder, and export that run"
        )
    files = {path.relative_to(kept).as_posix(): path for path in kept.rglob("*") if path.is_file()}
    del files[MANIFEST]
    if not files.keys() - _OF_WEIGHTS:
        files |= _tokenizer_of(run)
    try:
        with sealing(folder) as partial:
            for name, path in files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, partial / name)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error


def _refuse_taken(folder: Path) -> None:
    for path in (folder, partial_of(folder)):
        if path.exists() and not (path == folder and path.is_dir() and not any(path.iterdir())):
            raise StoreError(f"{path}: wanted a new or empty folder; remove it, or name another")


def _tokenizer_of(run: StoredRun) -> dict[str, Path]:
    """Return the files of the pretrained model's tokenizer: version 0.1.0 kept weights without one."""
    model = run.record.model
    if model.origin != "local":
        checkpoint = find_checkpoint(f"{model.id}@{model.revision}" if model.revision else model.id)
        if checkpoint.sha256 == model.sha256:
            return {path.name: path for path in tokenizer_files(checkpoint.tokenizer_folder)}
    raise StoreError(
        f"{run.folder}: its weights were kept without a tokenizer, as version 0.1.0 did, and the files of {model.id}"
        " are no longer known; run it again with another --results folder, and export that run"
    )
