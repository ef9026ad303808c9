"""Results folders with many runs: what commands read from them. `python -m benchmarks folder` measures the seconds."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.predictions import answers_of
from tests.helpers.results import a_run
from tests.helpers.sample_record import files_of, run_record
from tests.helpers.sample_report import undated
from xeval.checks.after.prediction_signatures import Predicted
from xeval.definitions.registry import get_task
from xeval.definitions.toml import MAX_FILE_BYTES
from xeval.judging.gate import baseline as baselines
from xeval.judging.score import Judged, score_of
from xeval.report import findings
from xeval.report.gate import terminal as gate_terminal
from xeval.report.page import html
from xeval.results.predictions import groups_of, label_counts, tally_of
from xeval.results.records import Score
from xeval.results.store import StoredRun, load_runs, save_record
from xeval.support.errors import StoreError

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
    """Counts the files read from now on by suffix, and those decoded under `decoded`."""
    import pyarrow.parquet

    numbers: Counter[str] = Counter()
    usual, parquet = os.open, pyarrow.parquet.ParquetFile

    def counted_open(path, flags: int, *arguments, **options) -> int:
        numbers[Path(path).suffix] += flags & os.O_ACCMODE == os.O_RDONLY
        return usual(path, flags, *arguments, **options)

    def counted_decoding(*arguments, **options):
        numbers["decoded"] += 1
        return parquet(*arguments, **options)

    monkeypatch.setattr(os, "open", counted_open)
    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", counted_decoding)
    return numbers


def test_list_bless_and_check_read_only_records(command, results, tmp_path, read):
    baseline = tmp_path / "baseline.toml"
    for words in (["list", "runs"], ["bless", "--output", baseline], ["check", "--baseline", baseline]):
        read.clear()
        assert command(*words, "--results", results)[0] == 0
        assert (read[".json"], read[".parquet"]) == (N_RUNS, 0), words


def test_report_reads_each_file_once(command, results, read):
    code, out, err = command("report", "--results", results)
    assert (code, err) == (0, "") and "org/m3" in out
    assert (read[".json"], read[".parquet"], read["decoded"]) == (N_RUNS, *[N_RUNS * len(LANGUAGES)] * 2)


@pytest.fixture
def counted(results) -> Path:
    """The same results, with label counts of the predictions in their records."""
    for run in load_runs(results):
        tables = {language: run.predictions(language) for language in run.record.scores}
        scores = {
            language: score.model_copy(update={"confusion": label_counts(tables[language]).tolist()})
            for language, score in run.record.scores.items()
        }
        save_record(run.folder, run.record.model_copy(update={"scores": scores}))
    return results


def test_report_does_not_decode_counted_predictions(command, results, request, read, monkeypatch):
    without = command("report", "--results", results)[1]
    request.getfixturevalue("counted")
    monkeypatch.setattr(findings, "MANY_FILES", 10)
    read.clear()
    assert undated(command("report", "--results", results)[1]) == undated(without)
    assert (read[".parquet"], read["decoded"]) == (N_RUNS * len(LANGUAGES), 0)


def test_html_page_uses_calibration_from_records(command, counted, read, tmp_path, monkeypatch):
    """Without calibration in the records, the page decodes every file and comes out the same."""
    monkeypatch.setattr(findings, "MANY_FILES", 10)
    monkeypatch.setattr(html, "MOST_RECORDS", 1)  # with more, the page shows no records
    for run in load_runs(counted):
        judged = {language: judged_again(run, language) for language in LANGUAGES}
        scores = {
            language: score.model_copy(update={"calibration": judged[language].calibration})
            for language, score in run.record.scores.items()
        }
        save_record(run.folder, run.record.model_copy(update={"scores": scores}))
    pages = {}
    for name, without in (("with", {}), ("without", {"calibration": None})):
        for run in load_runs(counted):
            scores = {language: score.model_copy(update=without) for language, score in run.record.scores.items()}
            save_record(run.folder, run.record.model_copy(update={"scores": scores}))
        read.clear()
        assert command("report", "--results", counted, "--output", tmp_path / "page.html")[0] == 0
        assert read["decoded"] == (0 if name == "with" else N_RUNS * len(LANGUAGES))
        pages[name] = undated((tmp_path / "page.html").read_text())
    assert pages["with"] == pages["without"] and "ECE" in pages["with"]


def judged_again(run: StoredRun, language: str) -> Score:
    table, kind = run.predictions(language), get_task(run.record.task).of_kind
    groups = groups_of(table)
    judged = Judged(table, tally_of(table), groups)
    return score_of(kind, "accuracy", judged, None, "a" * 64, "1" * 32)


def test_damaged_predictions_are_found_despite_counts(command, counted, monkeypatch):
    monkeypatch.setattr(findings, "MANY_FILES", 10)
    path = load_runs(counted)[4].folder / "predictions" / "es.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, out, _ = command("report", "--results", counted)
    assert code == 0 and "damaged predictions" in out


def test_label_counts_form_a_confusion_matrix(n=200):
    rng = np.random.default_rng(1)
    logits, gold = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(0, 3, n)
    counts = label_counts(answers_of(logits, gold))
    for said in range(3):
        for right in range(3):
            both = [one.argmax() == said and label == right for one, label in zip(logits, gold, strict=True)]
            assert counts[right][said] == sum(both)
    known, read = Predicted.of_counts(counts.tolist()), Predicted(np.arange(n), gold, logits.argmax(axis=1), 3)
    assert np.array_equal(known.rows, read.rows) and np.array_equal(known.confusion, read.confusion)
    assert np.array_equal(known.of_gold, read.of_gold) and np.array_equal(known.of_predictions, read.of_predictions)


def test_check_only_counts_unchanged_configurations(command, results, tmp_path, monkeypatch):
    baseline = tmp_path / "baseline.toml"
    assert command("bless", "--results", results, "--output", baseline)[0] == 0
    whole = command("check", "--results", results, "--baseline", baseline)[1]
    monkeypatch.setattr(gate_terminal, "MANY", 2)
    short = command("check", "--results", results, "--baseline", baseline)[1]
    assert whole.count("org/m") >= 4 and short.count("org/m") == 0
    assert f"{N_RUNS // 3} other configurations: unchanged" in short
    assert short.splitlines()[-1] == whole.splitlines()[-1]


@pytest.mark.slow
def test_baseline_of_1200_configurations_is_read_back(command, results, tmp_path, monkeypatch):
    path = tmp_path / "baseline.toml"
    assert command("bless", "--results", results, "--output", path)[0] == 0
    blessed = baselines.read(path)
    first = blessed.configurations[0]
    many = [first.model_copy(update={"model": f"org/{number}"}) for number in range(1_200)]
    baselines.write(path, blessed.model_copy(update={"configurations": tuple(many)}))
    assert path.stat().st_size > MAX_FILE_BYTES
    assert [own.model for own in baselines.read(path).configurations] == [own.model for own in many]
    monkeypatch.setattr(baselines, "MAX_BYTES", 1_000)
    with pytest.raises(StoreError, match="bless fewer"):
        baselines.write(path, blessed)
