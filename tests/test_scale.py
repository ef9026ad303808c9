"""Results folders with many runs: what commands read of them. Seconds are measured by `python -m benchmarks folder`."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.results import a_run
from tests.helpers.sample_record import files_of, run_record
from xeval.checks.after import counts
from xeval.checks.after.prediction_signatures import Predicted
from xeval.results.store import load_runs

LANGUAGES = ("de", "es")
N_RUNS = 12


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    task = {"task": "xnli-mini", "training_language": "de"}
    for number in range(N_RUNS):
        model = run_record().model.model_copy(
            update={"id": f"org/m{number // 3}", "sha256": files_of(str(number // 3))}
        )
        a_run(tmp_path / "results", *LANGUAGES, seed=number, model=model, **task)
    return tmp_path / "results"


@pytest.fixture
def read(monkeypatch) -> Counter[str]:
    """How many files of each ending are read from now on, and how many of them are decoded as `decoded`."""
    import pyarrow.parquet

    numbers: Counter[str] = Counter()
    read_bytes, parquet = Path.read_bytes, pyarrow.parquet.ParquetFile

    def counted_read(path: Path) -> bytes:
        numbers[path.suffix] += 1
        return read_bytes(path)

    def counted_decoding(*arguments, **options):
        numbers["decoded"] += 1
        return parquet(*arguments, **options)

    monkeypatch.setattr(Path, "read_bytes", counted_read)
    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", counted_decoding)
    return numbers


def test_runs_are_listed_and_blessed_and_checked_by_their_records_alone(command, results, tmp_path, read):
    assert command("list", "runs", "--results", results)[0] == 0
    assert (read[".json"], read[".parquet"]) == (N_RUNS, 0)
    read.clear()
    baseline = tmp_path / "baseline.toml"
    assert command("bless", "--results", results, "--output", baseline)[0] == 0
    read.clear()
    assert command("check", "--results", results, "--baseline", baseline)[0] == 0
    assert (read[".json"], read[".parquet"]) == (N_RUNS, 0)


def test_a_report_reads_each_record_and_each_prediction_once(command, results, read):
    code, out, err = command("report", "--results", results)
    assert (code, err) == (0, "") and "org/m3" in out
    assert (read[".json"], read[".parquet"], read["decoded"]) == (N_RUNS, *[N_RUNS * len(LANGUAGES)] * 2)


def test_of_many_files_the_counts_are_remembered_and_the_report_is_the_same(command, results, read, monkeypatch):
    without = command("report", "--results", results)[1]
    monkeypatch.setattr(counts, "MANY_FILES", 10)
    assert command("report", "--results", results)[1] == without
    read.clear()
    assert command("report", "--results", results)[1] == without
    assert (read[".parquet"], read["decoded"]) == (N_RUNS * len(LANGUAGES), 0)


def test_a_prediction_that_is_damaged_is_found_though_its_counts_are_remembered(command, results, monkeypatch):
    monkeypatch.setattr(counts, "MANY_FILES", 10)
    command("report", "--results", results)
    path = load_runs(results)[4].folder / "predictions" / "es.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, out, _ = command("report", "--results", results)
    assert code == 0 and "damaged predictions" in out


def test_counts_that_are_damaged_in_the_cache_are_made_again(command, results, tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "MANY_FILES", 10)
    whole = command("report", "--results", results)[1]
    path = tmp_path / "cache" / "counts" / "counts.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"300", b"301", 1))
    assert command("report", "--results", results)[1] == whole
    assert path.read_bytes() == before


def test_predictions_made_of_their_counts_have_these_counts(n=200):
    rng = np.random.default_rng(1)
    own = Predicted(np.arange(n), rng.integers(0, 3, n), rng.integers(0, 3, n), 3)
    again = counts.predicted(counts.count(own))
    assert np.array_equal(again.rows, own.rows) and again.n_labels == 3
    for gold in range(3):
        for said in range(3):
            here, there = ((p.labels == gold) & (p.predictions == said) for p in (own, again))
            assert here.sum() == there.sum()


def test_rows_that_are_missing_or_out_of_order_are_not_told_by_counts():
    labels = np.zeros(3, dtype=np.int32)
    for rows in ([0, 2, 1], [0, 1, 3], [1, 2, 3]):
        assert counts.count(Predicted(np.array(rows), labels, labels, 3)) is None


def test_a_kind_without_labels_has_its_rows_counted():
    assert counts.count(Predicted(np.arange(4))) == [4]
    again = counts.predicted([4])
    assert len(again.rows) == 4 and again.n_labels == 0 and not len(again.labels)
