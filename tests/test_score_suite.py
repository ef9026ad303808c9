"""A submission to a whole suite: each task is scored from its folder, in one table; a line names each that is not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from xeval.definitions.registry import all_tasks, get_suite
from xeval.report.suite.table import build
from xeval.results.store import load_runs
from xeval.runs.suite import score_suite
from xeval.support.errors import DataError, DefinitionError

LANGUAGES = {"tydiqa": ("ar", "ru")}  # by folder; the others have de and zh

# By folder of the submission: the right answers, and predictions with errors.
CLASSES = {
    "xnli": (["entailment", "neutral", "neutral", "contradiction"], ["entailment", "neutral", "entailment", "neutral"]),
    "pawsx": (["0", "1", "1", "0"], ["0", "1", "0", "0"]),
    "tatoeba": (["3", "0", "1", "2"], ["3", "0", "2", "1"]),
}
TAGS = {  # no two equal tags are adjacent, so each is its own span
    "udpos": (["DET", "NOUN", "", "NOUN", "VERB"], ["DET", "VERB", "", "NOUN", "ADJ"]),
    "panx": (["B-LOC", "O", "", "B-PER", "B-ORG"], ["B-LOC", "B-PER", "", "O", "B-LOC"]),
}
PAIRS = (["{}-1\ten-1", "{}-2\ten-2", "{}-3\ten-3"], ["{}-1\ten-1", "{}-2\ten-3"])
QUESTIONS = {"xquad": "x", "mlqa": "m", "tydiqa": "t"}
ANSWERS = ({"1": "in house", "2": "Anna"}, {"1": "house", "2": "Anna"})


def span_score(gold: list[str], said: list[str]) -> float:
    """F1 of single-tag spans; "O" is none."""
    spans, found = ({(place, tag) for place, tag in enumerate(tags) if tag not in ("", "O")} for tags in (gold, said))
    return 2 * len(spans & found) / (len(spans) + len(found))


EXPECTED = {
    "xnli": 2 / 4,
    "paws-x": 3 / 4,
    "tatoeba": 2 / 4,
    "udpos": span_score(*TAGS["udpos"]),
    "pan-x": span_score(*TAGS["panx"]),
    "bucc2018": 2 * 1 / (2 + 3),
    # One of two answers is exact. Against "in house", "house" has a recall of 1/2 and a precision of 1: F1 is 2/3.
    **dict.fromkeys(("xquad", "mlqa", "tydiqa-goldp"), ((0 + 1) / 2 + (2 / 3 + 1) / 2) / 2),
}


def question_file(name: str, answers: dict[str, str]) -> str:
    """The right answers in SQuAD's JSON format."""
    asked = [
        {"id": f"{name}{number}", "question": "?", "answers": [{"text": text, "answer_start": 0}]}
        for number, text in answers.items()
    ]
    paragraphs = [{"context": f"{text} .", "qas": [each]} for each, text in zip(asked, answers.values(), strict=True)]
    return json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]})


@pytest.fixture
def submission(tmp_path) -> Path:
    """`predictions/` and `labels/` for XTREME's nine tasks, two languages each."""
    for side, part in enumerate(("labels", "predictions")):
        for folder, sides in (CLASSES | TAGS | {"bucc2018": PAIRS}).items():
            for language in ("de", "zh"):
                lines = [line.format(language) for line in sides[side]]
                write(tmp_path / part / folder / f"test-{language}.tsv", "\n".join(lines) + "\n")
        for folder, name in QUESTIONS.items():
            said = json.dumps({f"{name}{number}": text for number, text in ANSWERS[1].items()})
            for language in LANGUAGES.get(folder, ("de", "zh")):
                content = said if part == "predictions" else question_file(name, ANSWERS[0])
                write(tmp_path / part / folder / f"test-{language}.json", content)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def scored(folder: Path, **options):
    options = {"labels": folder / "labels", "model": "somebody", "results": folder / "results"} | options
    return score_suite("xtreme", folder / "predictions", **options)


def table_of(folder: Path):
    [row] = build(load_runs(folder / "results"), get_suite("xtreme"), all_tasks()).ours
    return row


def test_task_scores_and_mean_match_hand_counts(submission):
    assert scored(submission).skipped == {}
    row = table_of(submission)
    assert {task: cell.value / 100 for task, cell in row.cells.items()} == pytest.approx(EXPECTED, abs=1e-12)
    assert (row.total.n, row.total.value / 100) == (9, pytest.approx(np.mean(list(EXPECTED.values())), abs=1e-12))


def test_command_exits_with_1_if_a_task_is_unscored(submission, command):
    words = ["score", "xtreme", "--predictions", submission / "predictions", "--labels", submission / "labels"]
    words += ["--model", "somebody", "--results", submission / "results"]
    code, out, err = command(*words)
    assert (code, err.splitlines()[0]) == (0, "xnli: 8 pairs in 2 languages")
    assert "mean of 9" in out and "somebody, bucc2018: F1 in 2 of 4 languages (de zh)" in out
    (submission / "predictions" / "panx").rename(submission / "predictions" / "pan_x")
    write(submission / "predictions" / "xnli" / "test-de.tsv", "neutral\n")
    code, out, err = command(*words, "--results", submission / "again")
    assert code == 1 and "mean of 9" in out and "(7 of 9)" in out
    lines = err.splitlines()
    assert lines[0] == "folders that belong to no task of xtreme, not read: pan_x"
    assert lines[1].startswith("xnli: not scored: ") and lines[1].endswith("one for each row of the data, found 1")
    assert any(line.startswith("pan-x: not scored: ") and "wanted one folder panx or pan-x" in line for line in lines)
    assert lines[-1] == "xeval: not scored, for the reasons above: xnli, pan-x"


def test_findings_name_their_task(submission, command):
    for part, lines in (("labels", ["0", "1"] * 60), ("predictions", ["1"] * 120)):
        write(submission / part / "pawsx" / "test-de.tsv", "\n".join(lines))
    words = ["score", "xtreme", "--predictions", submission / "predictions", "--labels", submission / "labels"]
    _, out, _ = command(*words, "--model", "somebody", "--results", submission / "results")
    assert "paws-x, somebody predictions seed 0: one label throughout" in out


def test_tasks_without_the_requested_language_are_skipped(submission):
    outcome = scored(submission, languages=["Russian"])
    assert [run.record.task for run in outcome.runs] == ["tydiqa-goldp"]
    assert "task mlqa has none of the requested languages" in outcome.skipped["mlqa"]
    assert "no predictions for ru" in outcome.skipped["xnli"]


def test_folder_without_a_submission_is_refused(submission):
    with pytest.raises(DataError, match=r"\(xnli, pawsx, .*found labels, predictions"):
        score_suite("xtreme", submission, labels=submission / "labels", model="somebody")
    with pytest.raises(DataError, match="there is none"):
        score_suite("xtreme", submission / "nowhere", labels=submission / "labels", model="somebody")
    with pytest.raises(DefinitionError, match="wanted one of the two"):
        scored(submission, data=submission)


def test_two_folders_of_one_task_are_refused(submission):
    shutil.copytree(submission / "predictions" / "panx", submission / "predictions" / "pan-x")
    assert "found panx and pan-x" in scored(submission).skipped["pan-x"]


def test_seeds_share_one_table_row(submission):
    scored(submission, seed=1)
    scored(submission, seed=2)
    assert all(len(cell.runs) == 2 for cell in table_of(submission).cells.values())


def test_explain_needs_a_single_task(submission, command):
    code, _, err = command(
        "score", "xtreme", "-p", submission / "predictions", "--labels", submission / "labels", "-m", "m",
        "--explain", "73.8",
    )  # fmt: skip
    assert code == 2 and "wanted one task, got the suite xtreme" in err


# ── XTREME's own mock submission, https://github.com/google-research/xtreme, evaluate_test.py ──

GOLDEN = {
    "xnli": 30.666666666666668,
    "paws-x": 51.42857142857143,
    "pan-x": 57.50793650793652,
    "udpos": 70.21746048354693,
    "bucc2018": 55.0,
    "tatoeba": 53.611111111111114,
    "xquad": (77.27272727272727 + 79.9586776859504) / 2,
    "mlqa": (57.142857142857146 + 81.76870748299321) / 2,
    "tydiqa-goldp": (88.88888888888889 + 97.22222222222223) / 2,
}


def test_mock_submission_gets_golden_scores_and_mean(tmp_path, unpacked):
    folder = unpacked("mock_test_data")
    outcome = score_suite(
        "xtreme", folder / "predictions", labels=folder / "labels", model="mock", results=tmp_path / "results"
    )
    assert outcome.skipped == {}
    row = table_of(tmp_path)
    assert {task: cell.value for task, cell in row.cells.items()} == pytest.approx(GOLDEN, abs=1e-10)
    assert row.total.value == pytest.approx(sum(GOLDEN.values()) / 9, abs=1e-10)
    assert not any(cell.score.lacking for cell in row.cells.values())
