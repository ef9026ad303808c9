"""Which definition of a score reaches a published number; each recomputed the slow way."""

import numpy as np
import pytest

from xeval.definitions.registry import get_task
from xeval.definitions.toml import Printed
from xeval.judging.forensics import Definition, definitions
from xeval.kinds.classification import macro_f1
from xeval.kinds.spans import strict_spans
from xeval.report.definitions import conclusion
from xeval.runs.score_given import score_given


def write(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def names(tmp_path):
    """PAN-X in three languages, with a span that begins with I-, which strict mode does not count."""
    gold = {"en": "B-PER I-PER O B-LOC", "de": "O I-ORG O O", "zh": "B-LOC O B-LOC I-LOC"}
    said = {"en": "B-PER I-PER O O", "de": "O I-ORG O O", "zh": "B-LOC O B-LOC O"}
    for folder, tags in (("gold", gold), ("said", said)):
        for language, own in tags.items():
            write(tmp_path / folder, f"test-{language}.tsv", own.replace(" ", "\n") + "\n")
    run = score_given(
        "pan-x", tmp_path / "said", labels=tmp_path / "gold", model="somebody", results=tmp_path / "results"
    )
    return {(one.metric, one.over): one for one in definitions([run], get_task("pan-x"))}


def test_metrics_and_averages_are_those_of_a_count_by_hand(names):
    lenient = {"en": 2 / 3, "de": 1.0, "zh": 1 / 2}  # spans: 1 of 2; 1 of 1; 1 of 2, and 1 invented
    strict = {"en": 2 / 3, "de": 0.0, "zh": 1 / 2}
    for metric, by_hand in {"span F1": lenient, "strict span F1": strict}.items():
        assert {over: one.value for (name, over), one in names.items() if name == metric and over in by_hand} == {
            language: pytest.approx(value) for language, value in by_hand.items()
        }
        assert names[metric, "mean of all 3"].value == pytest.approx(np.mean(list(by_hand.values())))
        assert names[metric, "mean of 2, without en"].value == pytest.approx((by_hand["de"] + by_hand["zh"]) / 2)
    assert names["span F1", "mean of all 3"].is_own and not names["strict span F1", "mean of all 3"].is_own


def test_answers_have_means_of_both_metrics_and_the_averages_of_others(tmp_path):
    import json

    task = get_task("xquad")
    for language in task.languages:
        asked = {"id": "1", "question": "Who?", "answers": [{"text": "a cat", "answer_start": 4}]}
        paragraph = {"context": "See a cat here", "qas": [asked]}
        write(tmp_path / "gold", f"test-{language}.json", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
        answer = {"hi": "here", "ro": "a cat"}.get(language, "cat here")
        write(tmp_path / "said", f"test-{language}.json", json.dumps({"1": answer}))
    run = score_given("xquad", tmp_path / "said", labels=tmp_path / "gold", model="x", results=tmp_path / "results")
    value = {(one.metric, one.over): one.value for one in definitions([run], task)}
    f1 = 2 / 3  # of "cat here" with "cat": SQuAD leaves the article out
    assert value["F1", "mean of all 12"] == pytest.approx((10 * f1 + 0 + 1) / 12)
    assert value["F1", "mean of 11, as XTREME averages"] == pytest.approx((10 * f1 + 0) / 11)
    assert value["F1", "mean of 11, as nlu-evals averages"] == pytest.approx((10 * f1 + 1) / 11)
    assert value["mean of exact match and F1", "ro"] == 1.0
    assert value["mean of exact match and F1", "de"] == pytest.approx(f1 / 2)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-PER I-PER O", {("PER", 0, 2)}),
        ("I-PER I-PER O", set()),
        ("B-PER I-LOC O", {("PER", 0, 1)}),
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("O B-LOC I-LOC I-LOC", {("LOC", 1, 4)}),
        ("O O", set()),
    ],
)
def test_strict_spans_begin_with_a_beginning(tags, spans):
    assert strict_spans(tags.split()) == spans


def test_macro_f1_is_the_mean_of_what_each_label_scores():
    gold, said = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    # 0: one right of two said and two meant; 1: two of three and two; 2: never said
    assert macro_f1(gold, said) == pytest.approx((2 * 1 / 4 + 2 * 2 / 5 + 0) / 3)


def test_a_number_is_reached_as_it_is_printed():
    one = Definition("F1", "mean", 0.73751, is_own=False)
    assert [one.reaches(Printed(text)) for text in ("73.8", "73.75", "73.7", "74")] == [True, True, False, True]
    assert conclusion([one], 40, Printed("73.8")) == "73.8 is what 1 of 40 definitions give: F1, mean."
    assert conclusion([], 40, Printed("9")).startswith("None of 40 definitions gives 9;")
