"""What a run's answers show in addition to its score, by kind of task, and how reports show it in every format."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.sample_record import INVOCATION, TOKENIZATION, run_record
from tests.test_tagging import drawn, slow_spans
from xeval.kinds.answers import Answers
from xeval.kinds.choices import MultipleChoice
from xeval.kinds.mining import BitextMining
from xeval.kinds.pairs import PairClassification
from xeval.kinds.retrieval import SentenceRetrieval
from xeval.kinds.spans import type_of
from xeval.kinds.tags import Tagging
from xeval.report import exhibits
from xeval.report.formats import json as as_json
from xeval.report.formats import markdown
from xeval.report.matrix import build
from xeval.report.page import html, model_section
from xeval.results import records
from xeval.results.predictions import save_predictions
from xeval.results.store import StoredRun

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
PARTS = ("NOUN", "VERB", "CCONJ")


def with_tally(columns: dict, tally: list[list[float]]) -> pa.Table:
    """A predictions file of `columns`, with only what exhibits read."""
    lines = np.array(tally, dtype=np.float64)
    return pa.table(columns | {"tally": pa.FixedSizeListArray.from_arrays(pa.array(lines.ravel()), lines.shape[1])})


def tagged(said: list[list[str]], gold: list[list[str]], labels: tuple[str, ...]) -> pa.Table:
    indices = {
        name: [[labels.index(tag) for tag in tags] for tags in rows]
        for name, rows in (("label", gold), ("prediction", said))
    }
    return pa.table({name: pa.array(rows, pa.list_(pa.int16())) for name, rows in indices.items()})


def slow_fates(said: list[list[str]], gold: list[list[str]]) -> dict[str, list[int]]:
    """Type → right, wrong type, wrong boundary, missed, invented, predicted; span by span."""
    fates: dict[str, list[int]] = {}
    for own_said, own_gold in zip(said, gold, strict=True):
        predicted, meant = slow_spans(own_said, type_of), slow_spans(own_gold, type_of)
        for span in meant:
            touching = [other for other in predicted if other[1] <= span[2] and span[1] <= other[2]]
            if span in predicted:
                fate = 0
            elif any(other[1:] == span[1:] for other in predicted):
                fate = 1
            else:
                fate = 2 if touching else 3
            fates.setdefault(span[0], [0] * 6)[fate] += 1
        for span in predicted:
            touches = any(other[1] <= span[2] and span[1] <= other[2] for other in meant)
            fates.setdefault(span[0], [0] * 6)[4] += not touches
            fates[span[0]][5] += 1
    return fates


# ── tags ──


@pytest.mark.parametrize("seed", range(4))
def test_span_fates_match_a_slow_count(seed):
    said, gold = drawn(NAMES, 150, seed), drawn(NAMES, 150, seed)
    lengths = [min(len(a), len(b)) for a, b in zip(said, gold[::-1], strict=True)]
    said, gold = ([row[:n] for row, n in zip(rows, lengths, strict=True)] for rows in (said, gold[::-1]))
    found = Tagging.exhibits({"en": [tagged(said[:70], gold[:70], NAMES), tagged(said[70:], gold[70:], NAMES)]}, NAMES)
    slow = slow_fates(said, gold)
    by_type = {row[0]: row[1:] for row in found[1].rows}
    assert by_type.keys() == slow.keys() == {"PER", "LOC"}
    for name, (right, wrong_type, boundary, missed, invented, predicted) in slow.items():
        n = right + wrong_type + boundary + missed
        shares = (right / n, wrong_type / n, boundary / n, missed / n, invented / predicted)
        assert by_type[name] == (n, *map(pytest.approx, shares))
        assert min(right, wrong_type, boundary, missed, invented) > 0
    assert found[0].rows[0][:2] == ("en", sum(sum(own[:4]) for own in slow.values()))
    assert sum(found[0].rows[0][2:6]) == pytest.approx(1)


def test_mistakes_are_counted_by_gold_tag():
    gold = [["NOUN", "NOUN", "VERB"], ["CCONJ", "NOUN"]]
    said = [["VERB", "VERB", "VERB"], ["NOUN", "NOUN"]]
    by_language, together = Tagging.exhibits(
        {"en": [tagged(said, gold, PARTS)], "de": [tagged(gold, gold, PARTS)]}, PARTS
    )
    assert by_language.rows == [("en", 5, 0.4, "NOUN", "VERB", 2, 2 / 3), ("de", 5, 1.0, "–", "–", 0, 0.0)]
    assert together.rows == [("NOUN", "VERB", 2, 2 / 6), ("CCONJ", "NOUN", 1, 1 / 2)]


# ── answers, retrieval, mining, choices ──


def test_answers_are_grouped_by_overlap_with_gold():
    cases = [
        ("the house", ["house"], 1.0, 1.0),
        ("a big house", ["House!"], 0.0, 2 / 3),
        ("house", ["the big house"], 0.0, 2 / 3),
        ("house there", ["big house", "x"], 0.0, 0.5),
        ("garden", ["house", "house", "cat"], 0.0, 0.0),
        ("", ["house"], 0.0, 0.0),
    ]
    counts = [[exact, f1, 0, 0, 0, 0, 1] for *_, exact, f1 in cases]
    columns = {"row": range(6), "prediction": [case[0] for case in cases], "gold": [case[1] for case in cases]}
    table = with_tally({name: pa.array(values) for name, values in columns.items()}, counts)
    shares, examples = Answers.exhibits({"en": [table]}, ())
    assert shares.rows == [("en", 6, *[1 / 6] * 6)]
    assert examples.rows == [("en", 1, "House!", "a big house", 2 / 3), ("en", 2, "the big house", "house", 2 / 3)]


def test_hubs_show_their_number_of_neighbours():
    table = pa.table({"prediction": pa.array([2, 2, 2, 3], pa.int32()), "nearer": pa.array([7, 20, 0, 0], pa.int32())})
    [found] = SentenceRetrieval.exhibits({"de": [table]}, ())
    assert found.rows == [("de", 4, 0.5, 0.5, 0.75, 0.5, 2, 3)]


def test_mined_pairs_are_grouped_by_error_type():
    # right; paired with the wrong sentence; paired though it has no partner; missed; rightly left unpaired
    table = with_tally({"threshold": pa.array([1.25] * 5)}, [[1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    [found] = BitextMining.exhibits({"zh": [table]}, ())
    assert found.rows == [("zh", "1.2500", 3, 1 / 3, 1 / 3, 1 / 3, 3, 1 / 3)]


def test_preference_for_one_choice_is_shown():
    columns = {"label": [0, 0, 1, 1], "prediction": [0, 0, 0, 1]}
    logits = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8, np.float32)), 2)
    table = pa.table({name: pa.array(values, pa.int32()) for name, values in columns.items()} | {"logits": logits})
    [found] = MultipleChoice.exhibits({"et": [table]}, ())
    assert found.rows == [("et", 0, 0.5, 0.75, 1.0), ("et", 1, 0.5, 0.25, 0.5)]


def test_classification_has_no_exhibits():
    assert PairClassification.exhibits({"en": []}, ("yes", "no")) == ()


# ── reports ──


@pytest.fixture
def matrix(tmp_path):
    """The matrix of one tagger's run in English and German."""
    gold, said = drawn(NAMES, 20, 1), drawn(NAMES, 20, 1)
    said[0] = ["O"] * len(said[0])
    scores = {}
    for language in ("en", "de"):
        tally = np.ones((20, 8))
        sha256 = save_predictions(tmp_path, language, tagged(said, gold, NAMES), tally, np.arange(20))
        scores[language] = records.Score(
            value=0.5,
            ci95=(0.4, 0.6),
            n_rows=20,
            n_groups=20,
            totals={"tp": 20, "fp": 20, "fn": 20},
            tokenization=TOKENIZATION,
            predictions_sha256=sha256,
            invocation=INVOCATION,
        )
    record = run_record(kind="tagging", metric="span_f1", labels=list(NAMES), scores=scores, chance=0.0)
    return build([StoredRun(tmp_path, record)], "cats", None)


def test_markdown_html_and_json_show_every_exhibit(matrix):
    [row] = matrix.ours
    found = exhibits.of(row, matrix.languages)
    assert len(found) == 4 and all(exhibit.rows for exhibit in found)
    text, page = markdown.render(matrix), html.render(matrix)
    content = json.loads(as_json.render(matrix))["rows"][0]["exhibits"]
    for exhibit, as_object in zip(found, content, strict=True):
        assert exhibit.title in text and f"<caption>{exhibit.title}</caption>" in page
        assert as_object["title"] == exhibit.title and as_object["header"] == list(exhibit.header)
        assert [tuple(line) for line in as_object["rows"]] == exhibit.rows
    assert "Span F1 in %" in text and '<h2 id="span_f1">Span F1</h2>' in page
    for word in ("accuracy", "pairs", "premise", "ECE", "confidence"):
        assert word not in text.lower() and word not in page.split('<h2 id="made">')[0].split("</style>")[1]


def test_unreadable_predictions_leave_exhibits_out(matrix, tmp_path):
    path = next(tmp_path.rglob("de.parquet"))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert exhibits.of(matrix.ours[0], matrix.languages) == ()
    assert "## Answers" not in markdown.render(matrix)


def test_cells_are_formatted_by_their_type():
    assert [exhibits.in_words(cell) for cell in ("NOUN", 12345, 0.1234, 0.0)] == ["NOUN", "12,345", "12.3 %", "0.0 %"]


def test_kind_of_a_missing_package_has_no_exhibits(matrix):
    [row] = matrix.ours
    [run] = row.runs
    other = replace(run, record=run.record.model_copy(update={"kind": "of-another-package"}))
    assert exhibits.of(replace(row, runs=(other,)), matrix.languages) == ()


def test_data_text_has_automatic_direction(matrix):
    page = html.render(matrix)
    assert '<td class="words" dir="auto"><span class="number">' in page
    assert 'data-value="0.0" dir="auto"' not in page


def test_quoted_texts_are_marked_with_their_language():
    columns = {"row": range(1), "prediction": ["猫"], "gold": [["狗"]]}
    table = with_tally({name: pa.array(values) for name, values in columns.items()}, [[0, 0, 0, 0, 0, 0, 1]])
    _, examples = Answers.exhibits({"zho_Hans": [table], "mine": [table]}, ())
    chinese, unknown = model_section.shown(examples).lines
    assert [(cell.text, cell.language) for cell in chinese.cells] == [
        ("0", ""),
        ("狗", "zh-Hans"),
        ("猫", "zh-Hans"),
        ("0.0 %", ""),
    ]
    assert {cell.language for cell in unknown.cells} == {""}  # the name of no language


def test_tags_are_not_marked_as_a_foreign_text(matrix):
    page = html.render(matrix)
    assert '<td class="words" dir="auto">' in page and 'lang="de"' not in page
