"""What kinds of task define: rows, gold answers, losses and tallies; and how a kind is found by its name."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import KIND
from xeval.kinds.kind import Kind
from xeval.kinds.pairs import PairClassification
from xeval.kinds.registry import all_kinds, get_kind
from xeval.kinds.rows import Rows, Table, evenly_spread, groups_of
from xeval.kinds.sentences import SentenceClassification, SentenceKeys
from xeval.support.errors import DataError, DefinitionError, UnknownNameError

TOPICS = SentenceClassification(SentenceKeys(labels=("sports", "travel"), label_aliases={"trips": "travel"}))


def table(**columns: list) -> Table:
    return Table("de", "test", "file.tsv: test rows of 'de'", columns, {})


# ── rows ──


def rows_of(n: int) -> Rows:
    texts = {"premise": [f"p{i // 3}" for i in range(n)], "hypothesis": [f"h{i}" for i in range(n)]}
    return Rows("de", "test", texts, np.arange(n) % 3, groups_of(texts["premise"]))


def test_first_rows_equal_a_shorter_split():
    assert len(rows_of(10).first(None)) == len(rows_of(10).first(99)) == 10
    assert rows_of(10).first(4).sha256 == rows_of(4).sha256
    assert rows_of(10).first(4).groups.tolist() == [0, 0, 0, 1]


def test_evenly_drawn_rows_cover_the_split_in_groups():
    drawn = rows_of(3000).spread(300, seed=1)
    assert (len(drawn), len(np.unique(drawn.groups))) == (300, 100)
    assert drawn.places.tolist() == sorted(set(drawn.places.tolist()))
    groups_by_tenth = np.histogram(drawn.places, bins=10, range=(0, 3000))[0] / 3
    assert np.abs(groups_by_tenth - 10).max() <= 2  # a plain random draw would easily give 5 to 15
    assert np.bincount(drawn.gold).tolist() == [100, 100, 100]
    assert drawn.sha256 == rows_of(3000).take(drawn.places).sha256


def test_smaller_draws_are_nested_and_repeatable():
    rows = rows_of(500)
    few, many = (set(rows.spread(n, seed=1).places.tolist()) for n in (40, 90))
    assert len(few) == 40 and len(few - many) <= 2 and len(many) == 90  # 90 has all of the group that 40 cuts
    assert rows.spread(40, seed=1).sha256 == rows.spread(40, seed=1).sha256 != rows.spread(40, seed=2).sha256
    assert rows.spread(None, seed=1) is rows.spread(500, seed=1) is rows


def test_equal_premises_do_not_change_drawn_rows():
    groups = np.arange(600) // 3
    # Premises that differ in one language may read alike in a parallel one.
    alike = np.where(groups == 150, 20, groups)
    assert evenly_spread(groups, 99, seed=1).tolist() == evenly_spread(alike, 99, seed=1).tolist()


def test_rows_are_taken_in_the_order_asked_for():
    some = rows_of(10).take(np.array([7, 2]))
    assert (some.texts["hypothesis"], some.gold.tolist(), some.groups.tolist()) == (["h7", "h2"], [1, 2], [2, 0])


def test_hash_distinguishes_texts_answers_and_borders():
    def hashed(texts: list, gold) -> str:
        return Rows("de", "test", {"a": [texts[0]], "b": [texts[1]]}, gold, np.zeros(1, dtype=np.int64)).sha256

    hashes = [
        hashed(["x", "yz"], np.array([0])),
        hashed(["xy", "z"], np.array([0])),
        hashed(["x", "yz"], np.array([1])),
        hashed([["x", "y"], "z"], [["B", "I"]]),
        hashed([["xy"], "z"], [["B", "I"]]),
        hashed([["x", "y"], "z"], [["BI"]]),
    ]
    assert len(set(hashes)) == len(hashes)


def test_hash_of_pairs_is_unchanged_since_0_1_0():
    """Finished runs are identified by it."""
    assert rows_of(2).sha256 == "2b1e060f183195d872cad50b145e3b5c8b253f0306fdb5d43e207788ec57da88"


def test_rows_with_the_same_premise_form_a_group():
    assert groups_of(["a", "b", "a", "c", "b"]).tolist() == [0, 1, 0, 2, 1]


# ── reading ──


def test_sentence_labels_are_read_by_name():
    rows = TOPICS.read(table(text=["a", "b", "c"], label=["travel", "sports", "trips"]))
    assert rows.texts == {"text": ["a", "b", "c"]}
    assert rows.gold.tolist() == [1, 0, 1]
    assert rows.groups.tolist() == [0, 1, 2], "sentences are independent of each other"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["a", "b"], "label": ["sports", "politics"]}, "row 2 has label 'politics'; wanted one of sports, tr"),
        ({"text": ["a", None], "label": ["sports", "travel"]}, "row 2 has no text in 'text'"),
        ({"text": ["a", "b"]}, "carry no labels"),
        ({"text": ["a"] * 10, "label": ["sports"] * 10}, "are all labelled 'sports', a placeholder"),
    ],
)
def test_unusable_sentences_are_refused_with_the_place(columns, said):
    with pytest.raises(DataError, match=r"^file\.tsv: test rows of 'de'[^\n]*$") as caught:
        TOPICS.read(table(**columns))
    assert said in str(caught.value)


def test_label_numbers_index_the_names_in_the_file():
    columns = {"text": ["a", "b"], "label": [0, 1]}
    named = Table("de", "test", "x", columns, {"label": ["travel", "sports"]})
    assert TOPICS.read(named).gold.tolist() == [1, 0]
    assert TOPICS.read(table(**columns)).gold.tolist() == [0, 1], "without names, in the task's order"


# ── loss and tally ──


def test_mean_loss_equals_torchs_to_the_bit():
    """Its gradients too: the weights of the microcosm must not change."""
    torch.manual_seed(0)
    for n in (1, 3, 6, 7, 32):
        logits, targets = torch.randn(n, 3), torch.randint(3, (n,))
        ours, plain = (logits.clone().requires_grad_() for _ in range(2))
        total, over = KIND.loss(ours, targets)
        (total / over).backward()
        expected = torch.nn.functional.cross_entropy(plain, targets)
        expected.backward()
        assert over == n
        assert torch.equal((total / over).detach(), expected.detach())
        assert torch.equal(ours.grad, plain.grad)


def test_tally_marks_right_and_wrong_rows():
    rows = TOPICS.read(table(text=["a", "b", "c"], label=["travel", "sports", "travel"]))
    answers = TOPICS.answers(np.array([[0, 1], [0, 1], [2, 1]], dtype=np.float32), None, rows)
    assert answers["prediction"].to_pylist() == [1, 1, 0]
    assert TOPICS.tally(answers, rows).tolist() == [[1, 1], [0, 1], [0, 1]]
    assert TOPICS.most_predicted(answers) == 2
    assert TOPICS.chance == 0.5


# ── by name ──


def test_kinds_that_come_with_xeval_are_found_by_name():
    assert get_kind("pair-classification") is PairClassification
    assert get_kind("sentence-classification") is SentenceClassification
    assert all_kinds()[:2] == ["pair-classification", "sentence-classification"]


def test_every_kind_has_a_head_and_valid_metrics():
    import transformers

    for name in all_kinds():
        kind = get_kind(name)
        assert kind.name == name and hasattr(transformers, kind.head)
        assert kind.metrics and all(set(metric.counts) <= set(kind.counts) for metric in kind.metrics)


def test_an_unknown_kind_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"^unknown kind of task 'pairs-classification': did you mean 'pair-cl"):
        get_kind("pairs-classification")


def installed(folder: Path, monkeypatch, module: str, entry: str) -> None:
    """A distribution in `folder` with this module and this entry point of the group `xeval.kinds`."""
    (folder / "made_up_kind.py").write_text(module)
    information = folder / "made_up_kind-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-kind\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[xeval.kinds]\n{entry}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "made_up_kind", raising=False)


@pytest.mark.parametrize(
    ("module", "entry", "said"),
    [
        ("1 / 0", "made-up = made_up_kind:Made", "cannot be loaded (ZeroDivisionError"),
        ("", "made-up = made_up_kind:Made", "cannot be loaded (AttributeError"),
        ("Made = 7", "made-up = made_up_kind:Made", "is not an xeval.kinds.kind.Kind of that name"),
        (
            "from xeval.kinds.pairs import PairClassification as Made",
            "made-up = made_up_kind:Made",
            "is not an xeval.kinds.kind.Kind of that name",
        ),
    ],
    ids=["its import fails", "it is not there", "it is a number", "it has another name"],
)
def test_invalid_entry_point_is_refused_in_one_line(tmp_path, monkeypatch, module, entry, said):
    installed(tmp_path, monkeypatch, module, entry)
    with pytest.raises(DefinitionError, match=r"^kind of task 'made-up': [^\n]*$") as caught:
        get_kind("made-up")
    assert said in str(caught.value)


def test_a_kind_of_another_package_is_suggested_too(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, "", "made-up = made_up_kind:Made")
    with pytest.raises(UnknownNameError, match="did you mean 'made-up'"):
        get_kind("made-upp")
    assert "made-up" in all_kinds()


def test_a_kind_that_lacks_a_method_cannot_be_made():
    class Half(Kind):
        def read(self, table):
            return None

    with pytest.raises(TypeError, match="abstract"):
        Half(None)


def test_bound_kinds_are_equal_if_their_keys_are():
    other = SentenceClassification(SentenceKeys(labels=("sports", "travel")))
    assert other != TOPICS
    assert SentenceClassification(TOPICS.keys) == TOPICS
