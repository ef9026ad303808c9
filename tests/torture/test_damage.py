"""Every kind of file that xeval writes, with a bit flipped or the end cut off: each time, the damage is noticed, and
the file is named or made again."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import xeval.data.microcosm.corpus
from tests.helpers.checkpoints import KIND, labelled_pairs, make_pairs, tiny_model, tiny_tokenizer
from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import run_record
from xeval.data.embedded import corpus_folder
from xeval.definitions.registry import get_task
from xeval.engine.encoded_cache import encoded_once
from xeval.engine.encoding import encode
from xeval.engine.loading import save_fine_tuned
from xeval.engine.snapshots import Snapshot, Snapshots
from xeval.results import predictions, store
from xeval.runs.grid import run
from xeval.support.cache import cache_home, kept_weights, weights_folder
from xeval.support.errors import DataError, StoreError

N_FAST, N_FULL = 10, 100
Notice = Callable[[], bool]


def damages(content: bytes, n_damages: int, seed: str) -> Iterator[bytes]:
    """`n_damages` copies with one bit flipped, then as many cut short."""
    rng = random.Random(seed)
    for _ in range(n_damages):
        place = rng.randrange(len(content))
        yield content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    for _ in range(n_damages):
        yield content[: rng.randrange(len(content))]


def record(folder: Path) -> tuple[list[Path], Notice]:
    store.save_record(folder, run_record())
    path = folder / "record.json"
    return [path], lambda: is_named(path, lambda: store.load_record(folder))


def prediction(folder: Path) -> tuple[list[Path], Notice]:
    sha256 = save_predictions(folder, "de", np.eye(3, dtype=np.float32), np.arange(3))
    path = folder / "predictions" / "de.parquet"
    return [path], lambda: is_named(path, lambda: predictions.load_predictions(folder, "de", sha256))


def is_named(path: Path, read: Callable) -> bool:
    with pytest.raises(StoreError) as refused:
        read()
    return str(path) in str(refused.value) and "\n" not in str(refused.value)


def encoded_rows(folder: Path) -> tuple[list[Path], Notice]:
    pairs = encode(KIND, tiny_tokenizer("bert"), labelled_pairs("en", make_pairs("en", 12)), 48)
    encoded_once("k" * 64, lambda: pairs, pytest.fail)
    made = []

    def is_made_again() -> bool:
        made.clear()
        again = encoded_once("k" * 64, lambda: made.append(1) or pairs, pytest.fail)
        return made == [1] and all(np.array_equal(value, asdict(pairs)[name]) for name, value in asdict(again).items())

    return [cache_home() / "encoded" / f"{'k' * 64}.npz"], is_made_again


def corpus(folder: Path, patch: pytest.MonkeyPatch) -> tuple[list[Path], Notice]:
    """With a smaller corpus instead of the real one, which takes seconds to make."""
    made = []

    def write(place: Path, languages, training_language: str) -> None:
        made.append(place)
        for name in ("en/train-0.parquet", "es/test-0.parquet"):
            (place / name).parent.mkdir(parents=True)
            (place / name).write_bytes(random.Random(name).randbytes(5000))

    patch.setattr(xeval.data.microcosm.corpus, "write_corpus", write)
    task = get_task("xnli-mini")
    place = corpus_folder(task)
    whole = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def is_made_again() -> bool:
        made.clear()
        corpus_folder(task)
        return len(made) == 1 and {path: path.read_bytes() for path in whole} == whole

    return list(whole), is_made_again


def weights(folder: Path) -> tuple[list[Path], Notice]:
    place = weights_folder("i" * 64)
    sha256 = save_fine_tuned(tiny_model("bert", 40), place)
    assert kept_weights("i" * 64, sha256) == place
    return [path for path in place.iterdir() if path.is_file()], lambda: kept_weights("i" * 64, sha256) is None


def checkpoint(folder: Path) -> tuple[list[Path], Notice]:
    said: list[str] = []
    kept = Snapshots(folder, said.append)
    for step in (1, 2):
        kept.save(Snapshot(step, {"weight": torch.arange(500.0) + step}, {"losses": [0.1 * step]}))
    newest = folder / "step-000000002"

    def is_passed_over() -> bool:
        said.clear()
        found = kept.newest()
        return found.step == 1 and bool(found.tensors["weight"][0] == 1) and len(said) == 1 and str(newest) in said[0]

    return list(newest.iterdir()), is_passed_over


KINDS = {
    "record": (record, "refused by name"),
    "prediction": (prediction, "refused by name, and computed again by a run"),
    "cache of encoded rows": (encoded_rows, "made again"),
    "generated corpus": (corpus, "made again"),
    "cache of weights": (weights, "not used"),
    "snapshot": (checkpoint, "named, and the one before it used"),
}


@pytest.mark.parametrize("n_damages", [N_FAST, pytest.param(N_FULL, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_is_noticed(tmp_path, monkeypatch, figure, kind, n_damages):
    make, what_happens = KINDS[kind]
    paths, is_noticed = make(tmp_path, monkeypatch) if make is corpus else make(tmp_path)
    n_noticed, n_done = 0, 0
    for path in paths:
        whole = path.read_bytes()
        for damaged in damages(whole, n_damages, f"{kind} {path.name}"):
            path.write_bytes(damaged)
            n_done += 1
            n_noticed += is_noticed()
            path.write_bytes(whole)
    figure(
        f"{kind}: {len(paths)} files flipped and cut {n_damages} times each", f"{n_noticed} of {n_done} {what_happens}"
    )
    assert n_noticed == n_done == 2 * n_damages * len(paths)


def test_rows_edited_in_place_are_read_again(tmp_path, mini, checkpoint_of):
    """The same folder, name, size and modification time; only a letter differs."""
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    options = {"data": data, "train": False, "results": tmp_path / "results", "device": "cpu", "languages": ["en"]}
    model = str(checkpoint_of("bert", ("entailment", "neutral", "contradiction")))
    (before,) = run(str(mini.task_file), [model], **options)
    path = data / "en" / "test-00000-of-00001.parquet"
    times = path.stat()
    table = pq.read_table(path)
    texts = [text.replace("cat", "car") for text in table["premise"].to_pylist()]
    column = table.column_names.index("premise")
    pq.write_table(table.set_column(column, table.schema.field(column), [texts]), path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match="test rows of 'en' differ from those"):
        run(str(mini.task_file), [model], **options)
    (after,) = run(str(mini.task_file), [model], **options | {"results": tmp_path / "other"})
    assert after.data.sha256 != before.data.sha256
    assert after.scores["en"].predictions_sha256 != before.scores["en"].predictions_sha256
