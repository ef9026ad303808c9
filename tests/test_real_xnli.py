"""The real XNLI in its 15 languages, with the real vocabulary and the real architecture, narrow and one layer deep.

The weights are random, so accuracies mean nothing here; counts, truncation and coverage do.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoModel

from xeval.judging.score import clustered_wilson_interval, wilson_interval
from xeval.results.predictions import groups_of, load_predictions
from xeval.results.store import load_runs
from xeval.runs.grid import run

SHARED = Path(__file__).parents[2] / "shared"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the real XNLI and vocabulary are not in ../shared"),
]

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
N_TEST = 5010
# Percentages of test pairs with more than 128 pieces of mBERT's vocabulary: ../shared/REFERENCES.md.
TRUNCATED = {"th": 18.7, "ur": 0.14, "en": 0.0}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """One run over everything: (its options, its record, its folder)."""
    folder = tmp_path_factory.mktemp("real")
    vocabulary, checkpoint = (
        SHARED / "models" / "distilbert-base-multilingual-cased",
        folder / "narrow-distilmbert",
    )
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(vocabulary, dim=64, n_layers=1, n_heads=4, hidden_dim=128)
    AutoModel.from_config(config).save_pretrained(checkpoint)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copyfile(vocabulary / name, checkpoint / name)
    options = {
        "task": "xnli",
        "models": [str(checkpoint)],
        "data": SHARED / "data" / "xnli",
        "results": folder / "results",
        "max_train": 96,
        "overrides": {"epochs": 1},
        "device": "cpu",
        "dtype": "float32",
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster for a model this narrow: three times on a busy machine
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(folder / "cache"))
        (record,) = run(**options)
        yield options, record, load_runs(folder / "results")[0].folder
    torch.set_num_threads(threads)


def test_all_15_languages_have_5010_pairs(real):
    _, record, _ = real
    assert record.status == "complete"
    assert sorted(record.scores) == sorted(LANGUAGES)
    assert {score.n_rows for score in record.scores.values()} == {N_TEST}
    assert sum(score.n_rows for score in record.scores.values()) == 75_150
    assert {record.timing[f"evaluate/{language}"].rows for language in LANGUAGES} == {N_TEST}


@pytest.mark.parametrize("language", LANGUAGES)
def test_predictions_hold_every_row_once_with_its_label(real, language):
    _, record, folder = real
    score = record.scores[language]
    table = load_predictions(folder, language, score.predictions_sha256)
    data = pq.read_table(next((SHARED / "data" / "xnli" / language).glob("test-*.parquet")))
    np.testing.assert_array_equal(table["row"], np.arange(N_TEST))
    np.testing.assert_array_equal(table["label"], data["label"])
    logits = np.array(table["logits"].to_pylist())
    assert logits.shape == (N_TEST, 3) and np.isfinite(logits).all()
    np.testing.assert_array_equal(table["prediction"], logits.argmax(axis=1))
    assert score.totals["correct"] == int((logits.argmax(axis=1) == np.array(data["label"])).sum())


def test_truncation_matches_the_measured_shares(real):
    _, record, _ = real
    for language, percent in TRUNCATED.items():
        tolerance = 0.05 if percent > 1 else 0.005  # half of the last digit printed
        assert 100 * record.scores[language].tokenization.truncated_share == pytest.approx(percent, abs=tolerance)
    assert max(record.scores, key=lambda language: record.scores[language].tokenization.truncated_share) == "th"


def test_intervals_count_premises_as_draws(real):
    """Three rows share a premise. If they are right together, the interval is √3 times as wide as for 5,010 draws."""
    _, record, folder = real
    for language, score in record.scores.items():
        table = load_predictions(folder, language, score.predictions_sha256)
        groups, right = groups_of(table), np.array(table["prediction"]) == np.array(table["label"])
        assert score.n_groups == len(np.unique(groups))
        assert score.ci95 == clustered_wilson_interval(right, groups)
        assert score.ci95[0] < score.value < score.ci95[1]
        together = groups % 3 == 0
        width, of_rows = (
            high - low
            for low, high in (clustered_wilson_interval(together, groups), wilson_interval(together.mean(), N_TEST))
        )
        assert width / of_rows == pytest.approx(3**0.5, rel=0.01)


def test_a_second_invocation_does_no_work(real, monkeypatch):
    options, record, folder = real

    def refuse(*args):
        pytest.fail("nothing should have been computed")

    monkeypatch.setattr("xeval.engine.steps.logits_of", refuse)
    monkeypatch.setattr("xeval.engine.prediction.logits_of", refuse)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert run(**options) == [record]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(list((folder / "predictions").iterdir())) == 15
