"""Making the microcosm's encoders, on a shortened schedule."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from tools.microcosm import text, vocabulary
from tools.microcosm.__main__ import make_student, make_teacher
from tools.microcosm.neighbours import Neighbours
from tools.microcosm.pretraining_text import pretraining_statements
from tools.microcosm.restatements import restatements
from xeval.data.microcosm import corpus, world
from xeval.data.microcosm.pairs import ENTAILMENT, label_of


@pytest.fixture
def short_schedule(monkeypatch):
    """Makes both encoders from little text in few steps, on one thread."""
    monkeypatch.setattr(text, "N_STATEMENTS", 300)
    monkeypatch.setattr(vocabulary, "N_STATEMENTS", 300)

    def run(folder: Path) -> Path:
        make_teacher(folder, steps=3)
        make_student(folder, steps=2)
        return folder

    return run


@pytest.mark.slow
def test_making_twice_gives_the_same_bytes(short_schedule, tmp_path):
    first, second = short_schedule(tmp_path / "first"), short_schedule(tmp_path / "second")
    for model in ("mini-mbert", "mini-distilmbert"):
        files = sorted(path.name for path in (first / model).iterdir())
        assert "model.safetensors" in files
        for name in files:
            assert (first / model / name).read_bytes() == (second / model / name).read_bytes(), name


@pytest.mark.slow
def test_student_halves_layers_and_keeps_vocabulary(short_schedule, tmp_path):
    made = short_schedule(tmp_path)
    teacher, student = (AutoConfig.from_pretrained(made / name) for name in ("mini-mbert", "mini-distilmbert"))
    assert student.num_hidden_layers * 2 == teacher.num_hidden_layers
    assert student.vocab_size == teacher.vocab_size == len(AutoTokenizer.from_pretrained(made / "mini-mbert"))


def test_student_starts_from_its_teachers_layers():
    """Before distillation, the student's layers are the teacher's first and last two."""
    from tools.microcosm.distil import student_of
    from tools.microcosm.pretrain import new_teacher

    teacher = new_teacher(vocabulary_size=50, seed=1)
    student = student_of(teacher, [])
    for ours, theirs in ((0, 0), (1, 4), (2, 5)):
        assert student.distilbert.transformer.layer[ours].ffn.lin1.weight.equal(
            teacher.bert.encoder.layer[theirs].intermediate.dense.weight
        )
    assert isinstance(AutoModel.from_config(student.config), type(student.distilbert))


def test_student_positions_include_token_types():
    # The student has no token types: its positions include the mean of what the teacher had there.
    from tools.microcosm.distil import student_of
    from tools.microcosm.pretrain import new_teacher

    teacher = new_teacher(vocabulary_size=50, seed=1)
    ids = np.zeros((2, 3), dtype=np.int64)
    batch = text.Batch(ids, np.array([[0, 1, 1], [0, 0, 1]]), np.array([[1, 1, 1], [1, 1, 0]]), ids, np.zeros(2))
    embeddings = teacher.bert.embeddings
    zero, one = embeddings.token_type_embeddings.weight
    # The third position is padding in one row. The fourth, which no row has, counts as the second sentence's.
    expected = [zero, (zero + one) / 2, one]
    found = student_of(teacher, [batch]).distilbert.embeddings.position_embeddings.weight
    for position, types in enumerate([*expected, one]):
        torch.testing.assert_close(found[position], embeddings.position_embeddings.weight[position] + types)


@pytest.mark.slow
def test_layer_that_adds_nothing_can_be_dropped(monkeypatch):
    from tools.microcosm.layers import losses_of_choices
    from tools.microcosm.pretrain import new_teacher, pretraining_loss

    monkeypatch.setattr(text, "N_STATEMENTS", 300)
    monkeypatch.setattr(vocabulary, "N_STATEMENTS", 300)
    tokenizer = vocabulary.train_tokenizer(("en", "de"), seed=corpus.SEED)
    batch = next(text.MultilingualText(tokenizer, ("en", "de"), seed=corpus.SEED).batches(32))
    teacher = new_teacher(len(tokenizer), seed=1).eval()
    teacher.bert.encoder.layer = teacher.bert.encoder.layer[:3]
    _passes_through(teacher.bert.encoder.layer[1])
    with torch.no_grad():
        whole = pretraining_loss(teacher)(batch).item()
    losses = losses_of_choices(teacher, [batch], n_layers=2)
    assert set(losses) == {(0, 1), (0, 2), (1, 2)} and list(losses.values()) == sorted(losses.values())
    assert losses[0, 2] == pytest.approx(whole, abs=1e-3)
    assert losses_of_choices(teacher, [batch], n_layers=3) == {(0, 1, 2): pytest.approx(whole)}


def test_distillation_loss_is_zero_for_equal_models(monkeypatch):
    """Softened predictions, cosine and comparison cost nothing; masked language modelling is left out."""
    from tools.microcosm import distil
    from tools.microcosm.pretrain import new_teacher

    monkeypatch.setattr(text, "N_STATEMENTS", 300)
    monkeypatch.setattr(vocabulary, "N_STATEMENTS", 300)
    tokenizer = vocabulary.train_tokenizer(("en", "de"), seed=corpus.SEED)
    batch = next(text.MultilingualText(tokenizer, ("en", "de"), seed=corpus.SEED).batches(64))
    teacher = new_teacher(len(tokenizer), seed=1)
    teacher.bert.encoder.layer = teacher.bert.encoder.layer[:2]
    teacher.config.num_hidden_layers = 2
    teacher.bert.encoder.layer[1] = _passes_through(teacher.bert.encoder.layer[1])
    monkeypatch.setattr(distil, "LAYERS", (0,))
    torch.nn.init.zeros_(teacher.bert.embeddings.token_type_embeddings.weight)
    student = distil.student_of(teacher, [batch])
    assert student.config.n_layers == 1
    monkeypatch.setitem(distil.WEIGHTS, "masked language modelling", 0.0)
    batch.token_type_ids[:] = 0
    with torch.no_grad():
        assert distil.distillation(teacher, student)(batch).item() == pytest.approx(0, abs=1e-4)
        torch.nn.init.normal_(student.distilbert.transformer.layer[0].ffn.lin2.weight)
        assert distil.distillation(teacher, student)(batch).item() > 0.1


def test_neighbours_differ_in_one_place_if_possible():
    """Of single facts: the pattern is the same, one slot or the negation differs; a synonym doesn't count."""
    statements = pretraining_statements(3_000, double=0.0)
    meanings = [astuple(_without_synonyms(statement[0])) for statement in statements]
    neighbours, rng = Neighbours(statements), np.random.default_rng(1)

    def n_differences(row: int, other: int) -> int:
        return sum(a != b for a, b in zip(meanings[row], meanings[other], strict=True))

    there_is_one, found_one = 0, 0
    for row in range(150):
        found = neighbours.of(row, limit=1_000, rng=rng)
        assert found < 1_000 and meanings[row] != meanings[found]
        there_is_one += any(n_differences(row, other) == 1 for other in range(1_000))
        found_one += n_differences(row, found) == 1
    assert found_one == there_is_one > 75


def test_restatements_are_entailed_and_often_reworded():
    statements = pretraining_statements(2_000)
    restated = restatements(statements, seed=1)
    labels = {label_of(whole, fact) for whole, (fact, *_) in zip(statements, restated, strict=True) if (fact,) != whole}
    assert labels == {ENTAILMENT}
    assert sum(again[0] not in whole for whole, again in zip(statements, restated, strict=True)) > 500


def test_no_restatement_is_in_validation_or_test():
    assert not set(restatements(pretraining_statements(20_000), seed=1)) & corpus.held_out()


def _passes_through(layer: torch.nn.Module) -> torch.nn.Module:
    """Make `layer` add nothing to its input, which is already normalized."""
    for output in (layer.attention.output.dense, layer.output.dense):
        torch.nn.init.zeros_(output.weight)
        torch.nn.init.zeros_(output.bias)
    return layer


def _without_synonyms(fact: world.Fact) -> world.Fact:
    first_of = {second: first for first, second in world.SYNONYMS}
    return replace(fact, **{slot: first_of.get(getattr(fact, slot), getattr(fact, slot)) for slot in world.SLOTS})


def test_no_row_is_both_compared_and_masked(monkeypatch):
    monkeypatch.setattr(text, "N_STATEMENTS", 300)
    monkeypatch.setattr(vocabulary, "N_STATEMENTS", 300)
    tokenizer = vocabulary.train_tokenizer(("en", "de"), seed=corpus.SEED)
    batch = next(text.MultilingualText(tokenizer, ("en", "de"), seed=corpus.SEED).batches(128))
    asked, masked = batch.same_meaning != text.NOT_ASKED, (batch.targets != text.NOT_ASKED).any(axis=1)
    assert asked.any() and masked.any() and not (asked & masked).any()
    assert set(batch.same_meaning[asked]) == {0, 1}
