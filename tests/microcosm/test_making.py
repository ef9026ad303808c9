"""The making of the microcosm's encoders, on a schedule cut short."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModel, AutoTokenizer

from xeval.microcosm.making import text, vocabulary
from xeval.microcosm.making.__main__ import make


@pytest.fixture
def short_schedule(monkeypatch):
    """`make` with little text and few steps, on one thread."""
    monkeypatch.setattr(text, "N_STATEMENTS", 300)
    monkeypatch.setattr(vocabulary, "N_STATEMENTS", 300)

    def run(folder: Path) -> Path:
        make(folder, teacher_steps=3, student_steps=2, threads=1)
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
def test_the_student_has_half_the_layers_and_the_same_vocabulary(short_schedule, tmp_path):
    made = short_schedule(tmp_path)
    teacher, student = (AutoConfig.from_pretrained(made / name) for name in ("mini-mbert", "mini-distilmbert"))
    assert student.num_hidden_layers * 2 == teacher.num_hidden_layers
    assert student.vocab_size == teacher.vocab_size == len(AutoTokenizer.from_pretrained(made / "mini-mbert"))


def test_the_student_starts_from_every_other_layer_of_its_teacher():
    """Without a step of distillation the student's layers are the teacher's first and third."""
    from xeval.microcosm.making.distil import student_of
    from xeval.microcosm.making.pretrain import new_teacher

    teacher = new_teacher(vocabulary_size=50, seed=1)
    student = student_of(teacher)
    for ours, theirs in ((0, 0), (1, 2)):
        assert student.distilbert.transformer.layer[ours].ffn.lin1.weight.equal(
            teacher.bert.encoder.layer[theirs].intermediate.dense.weight
        )
    assert isinstance(AutoModel.from_config(student.config), type(student.distilbert))
