"""Fine-tuned weights kept in a run's folder, and unused ones in the cache."""

import os
import shutil
import time
from pathlib import Path

import pytest
from world import LABELS, Notes, World, record_of, sha256

from xeval.results.merge import merge
from xeval.results.store import load_runs, own_weights
from xeval.runs.export import export
from xeval.support import cache
from xeval.support.errors import DefinitionError
from xeval.support.sealed import sealing


def own(world: World) -> Path:
    (folder,) = world.folders()
    return own_weights(folder)


def test_kept_weights_evaluate_a_language_added_later(empty, finished_once):
    record = empty.run(languages=["en", "es"], keep_weights=True)
    assert sha256(own(empty) / "model.safetensors") == record.training.weights_sha256
    shutil.rmtree(empty.folder / "cache")
    notes = Notes()
    second = empty.run(reporter=notes)
    assert not any("trained again" in line for line in notes.lines)
    assert second.training == record.training and second.scores == record_of(finished_once).scores


def test_kept_weights_serve_a_run_on_other_rows(empty):
    first = empty.run(languages=["en"], keep_weights=True)
    shutil.rmtree(empty.folder / "cache")
    notes = Notes()
    second = empty.run(languages=["en"], max_eval=3, reporter=notes)
    assert any("its training is the same as that of" in line for line in notes.lines)
    assert second.training == first.training


def test_finished_run_can_still_keep_its_weights(finished, no_training, no_prediction):
    record = finished.run(keep_weights=True)
    assert sha256(own(finished) / "model.safetensors") == record.training.weights_sha256
    before = finished.files()
    finished.run(keep_weights=True)
    assert finished.files() == before


def test_weights_that_cannot_be_kept_are_reported(finished, no_training, no_prediction):
    cache.clear("weights")
    notes = Notes()
    finished.run(keep_weights=True, reporter=notes)
    (said,) = [line for line in notes.lines if "cannot be kept" in line]
    assert str(finished.folders()[0]) in said and not own(finished).exists()


def test_damaged_weights_in_the_folder_are_not_used(empty):
    empty.run(languages=["en"], keep_weights=True)
    cache.clear("weights")
    path = own(empty) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    notes = Notes()
    empty.run(languages=["en", "es"], reporter=notes, keep_weights=True)
    assert any("trained again" in line for line in notes.lines)
    assert sha256(path) == record_of(empty).training.weights_sha256


def test_kept_weights_survive_merge_and_export(empty):
    record = empty.run(languages=["en"], keep_weights=True)
    merge([empty.results], empty.folder / "merged")
    shutil.rmtree(empty.folder / "cache")
    [run] = load_runs(empty.folder / "merged")
    export(run, empty.folder / "mine")
    assert sha256(empty.folder / "mine" / "model.safetensors") == record.training.weights_sha256
    notes = Notes()
    again = empty.run(results=empty.folder / "merged", reporter=notes)
    assert set(again.scores) == {"en", "es", "zh"} and not any("trained again" in line for line in notes.lines)


def test_keep_weights_is_refused_without_training(empty, checkpoint_of):
    with pytest.raises(
        DefinitionError, match=r"^keep weights: nothing is trained; leave out --keep-weights or --no-tr"
    ):
        empty.run(models=[str(checkpoint_of("bert", LABELS))], recipe=None, train=False, keep_weights=True)


# ── the cache ──


def put(name: str, n_bytes: int, days: float) -> Path:
    """Put weights into the cache that were last used this many days ago."""
    with sealing(cache.weights_folder(name)) as partial:
        (partial / cache.WEIGHTS).write_bytes(bytes(n_bytes))
    used_s = time.time() - days * 86_400
    os.utime(cache.weights_folder(name) / "SHA256SUMS", (used_s, used_s))
    return cache.weights_folder(name)


def test_full_cache_removes_weights_unused_for_a_week(empty, monkeypatch):
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 1_000_000)
    old = [put(f"old-{days}", 400_000, days) for days in (8, 20, 30)]
    new = [put(f"new-{days}", 400_000, days) for days in (0, 6)]
    said = cache.forget_unused("weights")
    told = "removed from the cache: 3 training runs whose weights nobody had used for 7 days (0.0 GB), since"
    assert said.startswith(told)
    assert not any(path.exists() for path in old) and all(path.exists() for path in new)
    assert cache.forget_unused("weights") == ""  # what is left fits
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 1)
    assert cache.forget_unused("weights") == "" and all(path.exists() for path in new)  # however large they are


def test_cache_removes_no_more_weights_than_needed(empty, monkeypatch):
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 900_000)
    old = [put(f"old-{days}", 400_000, days) for days in (8, 20, 30)]
    assert cache.forget_unused("weights").startswith("removed from the cache: 1 training run whose")
    assert [path.exists() for path in old] == [True, True, False]
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 10e9)
    assert cache.forget_unused("weights") == ""


def test_weights_used_again_stay_in_a_full_cache(finished, monkeypatch):
    record = record_of(finished)
    kept = cache.weights_folder(record.identity)
    os.utime(kept / "SHA256SUMS", (0, 0))
    assert cache.kept_weights(record.identity, record.training.weights_sha256) == kept
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 1)
    old, notes = put("old", 400_000, 8), Notes()
    finished.run(seeds=[4], languages=["en"], reporter=notes)
    told = "removed from the cache: 1 training run whose weights nobody had used for 7 days"
    assert any(told in line for line in notes.lines)
    assert kept.exists() and not old.exists()


def test_hidden_files_do_not_count_as_damage(finished, no_training, no_prediction):
    record = finished.run(keep_weights=True)
    (own(finished) / ".DS_Store").write_bytes(b"Bud1")
    assert cache.weights_in(own(finished), record.training.weights_sha256) == own(finished)
