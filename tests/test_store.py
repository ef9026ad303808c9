"""Files on disk are whole, hold what was written, and stay inside the results folder."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import SHA, run_record
from xeval.results import predictions, records, store
from xeval.support import files
from xeval.support.errors import StoreError

LOGITS = np.array([[0.5, -1.25, 3.0], [2.0, 1.0, 0.0], [-1.0, -2.0, -0.5]], dtype=np.float32)
LABELS = np.array([2, 1, 2])


def is_one_line_about(error: Exception, path: Path) -> bool:
    return "\n" not in str(error) and str(path) in str(error)


# ── records ──


def test_a_record_comes_back_as_it_was_written(tmp_path):
    store.save_record(tmp_path / "a" / "run", run_record())
    assert store.load_record(tmp_path / "a" / "run") == run_record()


def test_record_is_plain_utf8_text(tmp_path):
    store.save_record(tmp_path, run_record())
    text = (tmp_path / "record.json").read_text(encoding="utf-8")
    assert '"schema_version": 3' in text and "ภาษาไทย" in text and text.endswith("}\n")


def test_missing_record_loads_as_none(tmp_path):
    assert store.load_record(tmp_path / "nowhere") is None


def test_runs_are_loaded_in_folder_order(tmp_path):
    for number, model in enumerate(["b", "a", "c"]):
        folder = store.run_folder(tmp_path, "cats", model, "r", number, SHA)
        store.save_record(folder, run_record(seed=number))
    (tmp_path / "published").mkdir()
    assert [run.record.seed for run in store.load_runs(tmp_path)] == [1, 0, 2]


def unsealed(text: bytes) -> bytes:
    """A record's file without its checksum line."""
    first, second, rest = text.split(b"\n", 2)
    assert second.startswith(b' "content_sha256": ')
    return first + b"\n" + rest


def resealed(text: bytes) -> bytes:
    """A changed record's file with the checksum of its new content."""
    plain = unsealed(text)
    line = b' "content_sha256": "%s",\n' % hashlib.sha256(plain).hexdigest().encode()
    return plain.replace(b"{\n", b"{\n" + line, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"\xff\xfe" + text,
        lambda text: resealed(text.replace(b'"schema_version": 3', b'"schema_version": 4')),
        lambda text: resealed(text.replace(b'"value": 0.6', b'"value": 6.6')),
        lambda text: resealed(text.replace(b'"seed": 3', b'"seed": "3"')),
        lambda text: resealed(text.replace(b'"seed": 3', b'"seed": 3, "sead": 4')),
        lambda text: text.replace(b'"seed": 3', b'"seed": 4'),
        lambda text: text.replace(b'"seed": 3', b'"seed":  3'),
        lambda text: unsealed(text),
        lambda text: b"[]",
        lambda text: b"[" * 100_000,
    ],
    ids=[
        "cut",
        "empty",
        "not text",
        "other version",
        "impossible",
        "wrong type",
        "unknown key",
        "edited",
        "a space more",
        "checksum gone",
        "list",
        "deep",
    ],
)
def test_a_damaged_record_is_refused_in_one_line(tmp_path, damage):
    store.save_record(tmp_path, run_record())
    path = tmp_path / "record.json"
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as refused:
        store.load_record(tmp_path)
    assert is_one_line_about(refused.value, path)


def test_any_flipped_bit_in_a_record_is_noticed(tmp_path):
    store.save_record(tmp_path, run_record())
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(StoreError) as refused:
            store.load_record(tmp_path)
        assert is_one_line_about(refused.value, path)


def test_record_checksum_is_verifiable_with_sha256sum(tmp_path):
    store.save_record(tmp_path, run_record())
    check = """grep -v '^ "content_sha256"' record.json | sha256sum; grep -c . record.json"""
    process = subprocess.run(["sh", "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True)
    stated = json.loads((tmp_path / "record.json").read_text())["content_sha256"]
    assert process.stdout.split()[0] == stated


@pytest.mark.parametrize("kind", ["a pipe", "huge"])
def test_pipe_or_huge_file_as_record_is_refused(tmp_path, kind):
    path = tmp_path / "record.json"
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(10**12)
    with pytest.raises(StoreError) as refused:
        store.load_record(tmp_path)
    assert is_one_line_about(refused.value, path)


# ── a run that is evaluated again with other weights ──


def old_and_successor(folder: Path) -> tuple[records.RunRecord, records.RunRecord]:
    """A finished run and its finished successor, whose predictions differ."""
    written = []
    for place, logits in ((folder, LOGITS), (store.successor_folder(folder), -LOGITS)):
        sha256 = save_predictions(place, "de", logits, LABELS)
        scores = {"de": run_record().scores["de"].model_copy(update={"predictions_sha256": sha256})}
        written.append(run_record(scores=scores))
        store.save_record(place, written[-1])
    return written[0], written[1]


def test_finished_successor_replaces_the_old_run(tmp_path):
    _, new = old_and_successor(tmp_path)
    assert store.replace_by_successor(tmp_path) == new == store.load_record(tmp_path)
    predictions.load_predictions(tmp_path, "de", new.scores["de"].predictions_sha256)
    assert not store.successor_folder(tmp_path).exists()


@pytest.mark.parametrize("after", [0, 1])
def test_replacement_resumes_after_an_interruption(tmp_path, monkeypatch, after):
    _, new = old_and_successor(tmp_path)
    written = []

    def interrupt(path, content):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        files.write_atomically(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("xeval.results.store.write_atomically", interrupt)
        store.replace_by_successor(tmp_path)
    assert store.replace_by_successor(tmp_path) == new == store.load_record(tmp_path)
    predictions.load_predictions(tmp_path, "de", new.scores["de"].predictions_sha256)


def test_successor_is_not_listed_as_a_run(tmp_path):
    folder = store.run_folder(tmp_path, "cats", "m", "r", 1, SHA)
    old, _ = old_and_successor(folder)
    assert store.load_runs(tmp_path) == [store.StoredRun(folder, old)]


def test_unreadable_record_is_refused_in_one_line(tmp_path):
    (tmp_path / "record.json").mkdir()
    with pytest.raises(StoreError) as refused:
        store.load_record(tmp_path)
    assert is_one_line_about(refused.value, tmp_path / "record.json")


# ── predictions ──


def test_predictions_come_back_as_they_were_written(tmp_path):
    sha256 = save_predictions(tmp_path, "de", LOGITS, LABELS)
    table = predictions.load_predictions(tmp_path, "de", sha256).to_pydict()
    assert table["row"] == [0, 1, 2]
    assert table["label"] == [2, 1, 2]
    assert table["prediction"] == [2, 0, 2]
    np.testing.assert_array_equal(np.array(table["logits"], dtype=np.float32), LOGITS)


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    first = save_predictions(tmp_path / "1", "de", LOGITS, LABELS)
    assert save_predictions(tmp_path / "2", "de", LOGITS, LABELS) == first


def test_flipped_bits_in_predictions_are_noticed(tmp_path):
    sha256 = save_predictions(tmp_path, "de", LOGITS, LABELS)
    path = tmp_path / "predictions" / "de.parquet"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StoreError) as refused:
            predictions.load_predictions(tmp_path, "de", sha256)
        assert is_one_line_about(refused.value, path)


def test_missing_predictions_are_reported_in_one_line(tmp_path):
    with pytest.raises(StoreError) as refused:
        predictions.load_predictions(tmp_path, "de", SHA)
    assert is_one_line_about(refused.value, tmp_path / "predictions" / "de.parquet")


# ── hostile names ──


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\..\\b",
        "x\n\x1b[31m",
        "a\0b",
        "~root",
        ".hidden",
        "模型",
        "-rf",
        "a b;c",
    ],
)
def test_no_name_escapes_the_results_folder(tmp_path, name):
    results = tmp_path / "results"
    folder = store.run_folder(results, name, name, name, 1, SHA)
    assert folder.resolve().relative_to(results.resolve()).parts == folder.relative_to(results).parts
    assert len(folder.relative_to(results).parts) == 3
    store.save_record(folder, run_record())
    save_predictions(folder, name, LOGITS, LABELS)
    assert [run.folder for run in store.load_runs(results)] == [folder]
    assert list(tmp_path.iterdir()) == [results]


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_part_of_a_run_folder_is_one_plain_name(model, recipe):
    parts = store.run_folder(Path("results"), "task", model, recipe, 1, SHA).parts
    assert parts[:2] == ("results", "task") and len(parts) == 4
    for part in parts:
        assert part.isascii() and part.isprintable() and not part.startswith(".") and "/" not in part


def test_different_identities_get_different_folders(tmp_path):
    folders = {store.run_folder(tmp_path, "t", "m", "r", 1, digit * 64) for digit in "abc"}
    assert len(folders) == 3


def test_reformatted_record_is_reported_as_edited(tmp_path):
    store.save_record(tmp_path, run_record())
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))  # as `jq .` writes it
    with pytest.raises(StoreError, match="damaged or edited"):
        store.load_record(tmp_path)


def test_record_with_line_ends_of_windows_is_the_same(tmp_path):
    """As git writes it on Windows, unless it is told otherwise."""
    store.save_record(tmp_path, record := run_record())
    path = tmp_path / "record.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert store.load_record(tmp_path) == record
