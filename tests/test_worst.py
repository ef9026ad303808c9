"""The line on the language that a model transfers to worst, and what the diagnosis reports to have checked."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from test_report import a_run

from tests.helpers.sample_report import sample_matrix, sample_runs
from xeval.checks.after.diagnose import n_causes
from xeval.kinds.tokenization import Tokenization
from xeval.report import in_short, matrix, worst
from xeval.report.formats import markdown, terminal
from xeval.report.page import html
from xeval.results.records import ELSEWHERE, Recorded
from xeval.results.store import StoredRun
from xeval.support.findings import warning

LABELS = ["entailment", "neutral", "contradiction"]
DIAGONAL = [[90, 5, 5], [5, 90, 5], [5, 5, 90]]
TO_NEUTRAL = [[50, 45, 5], [5, 90, 5], [5, 35, 60]]


def changed(thing: Recorded, **update) -> Recorded:
    return thing.model_copy(update=update)


def tokens(pieces: float | None = 1.2, truncated: float = 0.0, unknown: float = 0.0) -> Tokenization:
    return Tokenization(
        truncated_share=truncated, unknown_piece_share=unknown, pieces_per_word=pieces, pieces_per_row=30.0
    )


def row_of(*seeds: dict, **of_urdu) -> matrix.Row:
    """A row of ours with English, Spanish and Urdu; each seed, or `of_urdu`, changes Urdu's score."""
    runs = []
    for seed, changes in enumerate(seeds or [of_urdu]):
        run = a_run(seed=seed, en=0.9, es=0.8, ur=0.6)
        usual = {"tokenization": tokens(), "confusion": DIAGONAL}
        scores = {name: changed(score, **usual) for name, score in run.record.scores.items()}
        scores["ur"] = changed(scores["ur"], **changes)
        runs.append(StoredRun(run.folder, changed(run.record, scores=scores, labels=LABELS)))
    return matrix.build(runs, "xnli", None).ours[0]


BELOW = "Worst: Urdu, 60.0, 30.0 points below English"


@pytest.mark.parametrize(
    ("of_urdu", "said"),
    [
        ({}, "; its tokens and answers show no reason."),
        ({"confusion": None}, "."),
        ({"tokenization": None}, "; its tokens and answers show no reason."),
        ({"tokenization": tokens(2.9)}, "; likely because its words are cut into 2.9 pieces (English 1.2)."),
        ({"tokenization": tokens(None)}, "; its tokens and answers show no reason."),
        ({"tokenization": tokens(1.4, 0.01, 0.01)}, "; its tokens and answers show no reason."),
        (
            {"tokenization": tokens(truncated=0.187)},
            "; likely because 18.7 % of its pairs are cut off (English 0.0 %).",
        ),
        ({"tokenization": tokens(unknown=0.3)}, "; likely because 30.0 % of its pieces are unknown (English 0.0 %)."),
        (
            {"confusion": TO_NEUTRAL},
            "; likely because entailment is mistaken for neutral in 45.0 % of cases (English 5.0 %).",
        ),
        (
            {"confusion": TO_NEUTRAL, "tokenization": tokens(2.9, 0.187)},
            "; likely because its words are cut into 2.9 pieces (English 1.2), 18.7 % of its pairs are cut off (English"
            " 0.0 %), and entailment is mistaken for neutral in 45.0 % of cases (English 5.0 %).",
        ),
    ],
)
def test_worst_language_is_named_with_its_likely_cause(of_urdu, said):
    assert worst.of(row_of(**of_urdu)) == BELOW + said


def test_causes_are_averaged_over_seeds():
    first = {"confusion": TO_NEUTRAL, "tokenization": tokens(2.9)}
    others = [{"confusion": DIAGONAL, "tokenization": tokens(1.7)}] * 2
    said = worst.of(row_of(first, *others))
    assert "cut into 2.1 pieces (English 1.2)" in said
    assert "entailment is mistaken for neutral in 18.3 % of cases (English 5.0 %)" in said


def test_answers_known_outside_the_records_are_used():
    known = {"en": np.array(DIAGONAL), "ur": np.array(TO_NEUTRAL)}
    assert "entailment is mistaken for neutral" in worst.of(row_of(confusion=None), known)


def test_all_formats_give_the_cause_where_records_hold_no_answers(tmp_path):
    """Records of part of the rows and of version 0.1.0 hold none, but their predictions do."""
    table = matrix.build(sample_runs(tmp_path, n_rows=600), "xnli", None)
    assert all(score.confusion is None for run in table.runs for score in run.record.scores.values())
    causes = [worst.of(row) for row in table.ours]
    assert all("is mistaken for" in cause for cause in causes)
    texts = html.render(table), markdown.render(table), "\n".join(terminal_lines(table))
    assert all(cause in text for cause in causes for text in texts)
    (table.ours[0].runs[0].folder / "predictions" / "en.parquet").unlink()
    assert "is mistaken for" not in worst.of(table.ours[0])


def terminal_lines(table: matrix.Matrix) -> list[str]:
    console = Console(width=10_000, record=True, file=io.StringIO())
    terminal.show(table, console)
    return console.export_text().splitlines()


def test_no_line_without_english_and_a_worse_language():
    for scores in ({"en": 0.9}, {"es": 0.9, "ur": 0.5}, {"en": 0.5, "es": 0.6}):
        assert worst.of(matrix.build([a_run(**scores)], "xnli", None).ours[0]) == ""


def test_a_model_has_one_line_and_its_short_name(tmp_path):
    table = sample_matrix(tmp_path / "results")
    assert [entry.name for entry in in_short.of(table)] == ["distilmbert", "another"]
    lines = [line for line in markdown.render(table).splitlines() if line.startswith("- **")]
    assert len(lines) == 2 and "✗ not reproduced 1 (ur)" in lines[0]


def test_models_with_equal_endings_keep_full_names():
    table = matrix.build([a_run("one/encoder", en=0.9), a_run("other/encoder", en=0.8)], "xnli", None)
    assert [entry.name for entry in in_short.of(table)] == ["one/encoder", "other/encoder"]


def test_transfer_order_starts_with_training_language():
    table = matrix.build([a_run(ur=0.5, es=0.8, en=0.7, zh=0.6)], "xnli", None)
    assert table.by_transfer == ["en", "es", "zh", "ur"]


def test_checked_causes_depend_on_the_run():
    record = a_run(en=0.9).record
    with_labels = changed(record, scores={"en": changed(record.scores["en"], n_most_predicted=3)})
    by_others = changed(with_labels, recipe=changed(record.recipe, name=ELSEWHERE), training=None)
    assert n_causes(record) < n_causes(with_labels)
    assert by_others.computed_elsewhere and n_causes(by_others) > n_causes(with_labels)


def test_none_found_is_stated_only_after_a_check():
    looked = {**vars(matrix.build([a_run(en=0.9)], "xnli", None)), "n_causes": 3}
    assert matrix.Matrix(**looked).checked == "3 known causes of wrong numbers checked, none found"
    assert matrix.Matrix(**(looked | {"findings": [warning("rows", "few", "Get more.")]})).checked == ""
    assert matrix.Matrix(**(looked | {"n_causes": 0})).checked == ""


def test_no_line_when_english_is_at_chance():
    runs = [a_run(seed=0, en=0.31, es=0.3, ur=0.29)]
    assert worst.of(matrix.build(runs, "xnli", None).ours[0]) == ""


@pytest.mark.parametrize(("n_rows", "is_enough"), [(99, False), (100, True)])
def test_none_found_among_few_rows_is_not_reassuring(n_rows, is_enough):
    run = a_run(en=0.9)
    few = changed(run.record, scores={"en": changed(run.record.scores["en"], n_rows=n_rows)})
    looked = {**vars(matrix.build([replace(run, record=few)], "xnli", None)), "n_causes": 3}
    assert ("do not show in fewer than 100 test rows" in matrix.Matrix(**looked).checked) != is_enough


def test_distance_that_may_be_chance_gets_no_reason():
    """It is 30 points, and English's interval is 1 point to either side."""
    pieces = tokens(2.9)
    assert worst.of(row_of(tokenization=pieces, ci95=(0.3, 0.9))) == f"{BELOW}."
    assert worst.of(row_of(tokenization=pieces, ci95=(0.31, 0.89))).startswith(f"{BELOW}; likely because its words")
    wide, narrow = ({"tokenization": pieces, "ci95": interval} for interval in ((0.2, 1.0), (0.5, 0.7)))
    assert "likely" in worst.of(row_of(wide, narrow, narrow))


def test_worst_of_two_languages_with_one_name_has_its_code():
    row = row_of()
    scores = row.runs[0].record.scores
    renamed = {"en": scores["en"], "kas_Arab": scores["es"], "kas_Deva": scores["ur"]}
    run = StoredRun(row.runs[0].folder, changed(row.runs[0].record, scores=renamed))
    [of_both] = matrix.build([run], "xnli", None).ours
    assert worst.of(of_both).startswith("Worst: Kashmiri (kas_Deva), 60.0, 30.0 points below English")
