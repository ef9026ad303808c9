"""Multiple choice: rows, choices that stay together, and predictions, losses and gradients as in transformers."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForMultipleChoice

import xeval.engine.steps
from tests.helpers.checkpoints import ARCHITECTURES, WORDS, tiny_tokenizer
from tests.helpers.plain_choices import plain_choices, tiny_choice_model
from tests.helpers.tiny_training import into, recipe
from xeval.data.model_files import find_checkpoint
from xeval.engine.devices import Compute
from xeval.engine.fast_path.forward import logits_of, packed
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.loading import load_fine_tuned, load_pretrained, with_single_choices
from xeval.engine.prediction import mean_loss, predict
from xeval.engine.steps import step_on_device
from xeval.engine.training import fine_tune
from xeval.kinds.choices import ChoiceColumns, ChoiceKeys, MultipleChoice
from xeval.kinds.rows import Rows, Table
from xeval.support.errors import DataError

CPU = Compute(torch.device("cpu"), torch.float32)
ASKED = {"cause": "What was the cause?", "effect": "What was the effect?"}
THREE = ("choice1", "choice2", "choice3")
KIND = MultipleChoice(ChoiceKeys(questions=ASKED))
OF_THREE = MultipleChoice(ChoiceKeys(columns=ChoiceColumns(choices=THREE)))


def table(n: int = 12, choices=("choice1", "choice2"), **changes: list) -> Table:
    rng = np.random.default_rng(5)

    def texts():
        return [" ".join(rng.choice(WORDS["en"], rng.integers(1, 9))) for _ in range(n)]

    columns = {"premise": texts(), "question": ["cause", "effect"] * (n // 2), **{name: texts() for name in choices}}
    columns["label"] = rng.integers(0, len(choices), n).tolist()
    return Table("en", "test", "test-en.jsonl: test rows of 'en'", columns | changes, {})


def rows_of(kind: MultipleChoice, n: int = 12) -> Rows:
    return kind.read(table(n, kind.keys.columns.choices))


@pytest.fixture(params=ARCHITECTURES)
def saved(request, tmp_path):
    """A tiny checkpoint with a multiple-choice head: its architecture and its folder."""
    tiny_choice_model(request.param, len(tiny_tokenizer(request.param))).save_pretrained(tmp_path)
    tiny_tokenizer(request.param).save_pretrained(tmp_path)
    return request.param, tmp_path


# ── model ──


@pytest.mark.parametrize("kind", [KIND, OF_THREE], ids=["two", "three"])
def test_predictions_are_those_of_a_plain_loop(saved, kind):
    architecture, folder = saved
    rows = rows_of(kind)
    model = load_fine_tuned(find_checkpoint(str(folder)), kind)
    encoded = kind.encode(tiny_tokenizer(architecture), rows, 128)
    outputs = predict(model, kind, encoded, CPU)
    assert outputs.shape == (len(rows) * kind.sequences_together, 1)
    with torch.no_grad():
        expected = plain_choices(
            AutoModelForMultipleChoice.from_pretrained(folder).eval(), tiny_tokenizer(architecture), rows
        )
    np.testing.assert_allclose(outputs.reshape(expected.shape), expected.numpy(), rtol=0, atol=1e-5)
    answers = kind.answers(outputs, encoded, rows)
    assert answers["prediction"].to_pylist() == expected.argmax(dim=1).tolist()
    right = expected.argmax(dim=1).numpy() == rows.gold
    assert kind.measure("accuracy").over(kind.tally(answers, rows)) == np.mean(right)


@pytest.mark.parametrize("kind", [KIND, OF_THREE], ids=["two", "three"])
def test_loss_and_gradients_are_those_of_transformers(saved, kind):
    architecture, folder = saved
    rows = rows_of(kind)
    expected_model = AutoModelForMultipleChoice.from_pretrained(folder)
    expected = torch.nn.functional.cross_entropy(
        plain_choices(expected_model, tiny_tokenizer(architecture), rows), torch.from_numpy(rows.gold)
    )
    expected.backward()
    model = load_fine_tuned(find_checkpoint(str(folder)), kind)
    encoded = kind.encode(tiny_tokenizer(architecture), rows, 128)
    sequences = np.arange(len(encoded))
    with packed(model, kind.reads):
        resident = ResidentPairs(encoded, model.config, len(sequences), CPU.device)
        loss = step_on_device(kind, model, resident, torch.from_numpy(sequences), resident.n_tokens(sequences), CPU)
    torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-5)
    assert mean_loss(kind, predict(model, kind, encoded, CPU), encoded) == pytest.approx(float(loss), abs=1e-5)
    for (name, got), (_, wanted) in zip(model.named_parameters(), expected_model.named_parameters(), strict=True):
        torch.testing.assert_close(got.grad, wanted.grad, rtol=0, atol=1e-5, msg=name)


def test_padded_batches_give_the_same_logits(saved):
    architecture, folder = saved
    model = load_fine_tuned(find_checkpoint(str(folder)), KIND).eval()
    encoded = KIND.encode(tiny_tokenizer(architecture), rows_of(KIND), 128)
    sequences = np.arange(len(encoded))
    with torch.no_grad():
        padded = logits_of(model, encoded, sequences, CPU)
    np.testing.assert_allclose(predict(model, KIND, encoded, CPU), padded.numpy(), rtol=0, atol=1e-5)


def test_training_starts_from_a_newly_drawn_head(saved):
    _, folder = saved
    brought = AutoModelForMultipleChoice.from_pretrained(folder)
    first, again, other = (load_pretrained(find_checkpoint(str(folder)), KIND, seed) for seed in (1, 1, 2))
    weights = [model.classifier.weight for model in (brought, first, again, other)]
    assert weights[1].shape == weights[0].shape
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])


# ── training ──


def trained(monkeypatch, most_sequences: int) -> tuple[list[list[int]], list[float], dict[str, torch.Tensor]]:
    """Return the sequences of each batch, the losses and the weights of six steps with memory for `most_sequences`."""
    model, batches, losses = with_single_choices(tiny_choice_model("bert", len(tiny_tokenizer("bert")))), [], []

    def limited(model, encoded, sequences, compute):
        if len(sequences) > most_sequences:
            raise MemoryError
        batches.append(sequences.tolist())
        return logits_of(model, encoded, sequences, compute)

    monkeypatch.setattr(xeval.engine.steps, "logits_of", limited)
    encoded = OF_THREE.encode(tiny_tokenizer("bert"), rows_of(OF_THREE), 128)
    chosen = recipe(max_steps=6, batch_size=5, learning_rate=1e-3)
    outcome = fine_tune(OF_THREE, model, encoded, chosen, 1e-3, 1, CPU, lambda: 0.5, into(losses))
    assert outcome.n_pairs == 2 * 12
    return batches, losses, model.state_dict()


def test_the_choices_of_a_row_are_in_one_batch(monkeypatch):
    batches, losses, weights = trained(monkeypatch, most_sequences=15)
    assert [len(batch) for batch in batches] == [15, 15, 6] * 2  # 12 questions of 3 choices, 5 questions a batch
    in_parts, losses_in_parts, weights_in_parts = trained(monkeypatch, most_sequences=7)
    for batch in [*batches, *in_parts]:
        assert [sequence // 3 for sequence in batch[::3]] == [sequence // 3 for sequence in batch[2::3]]
        assert all(first % 3 == 0 for first in batch[::3])
    for epoch in (batches[:3], batches[3:]):
        assert sorted(sequence for batch in epoch for sequence in batch) == list(range(36))
    assert losses_in_parts == pytest.approx(losses, rel=1e-5)
    rounding = {name for name in weights if name.endswith("key.bias")} | {"classifier.bias"}  # shift all choices alike
    for name in weights.keys() - rounding:
        torch.testing.assert_close(weights_in_parts[name], weights[name], rtol=0, atol=1e-5, msg=name)


# ── rows ──


def test_each_choice_is_paired_with_premise_and_question():
    rows = rows_of(KIND, 4)
    tokenizer = tiny_tokenizer("bert")
    encoded = KIND.encode(tokenizer, rows, 128)
    assert encoded.row_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert encoded.targets.reshape(4, 2).argmax(axis=1).tolist() == rows.gold.tolist()
    third = encoded.input_ids[encoded.offsets[3] : encoded.offsets[4]].tolist()
    premise, question = (rows.texts[name][1] for name in ("premise", "question"))
    assert question == "What was the effect?"
    assert third == tokenizer(f"{premise} {question}", rows.texts["choices"][1][1])["input_ids"]
    assert encoded.tokenization.pieces_per_row == pytest.approx(len(encoded.input_ids) / 4)


def test_questions_without_a_table_stay_unchanged():
    assert rows_of(OF_THREE, 4).texts["question"] == ["cause", "effect", "cause", "effect"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": [0, 1, 2, 0]}, "row 3 has label 2; wanted 0 to 1, the number of the right choice"),
        ({"label": [0, -1, 1, 0]}, "row 2 has label -1; wanted 0 to 1"),
        ({"label": [0, True, 1, 0]}, "row 2 has label True; wanted 0 to 1"),
        ({"label": ["0", "one", "1", "0"]}, "row 2 has label 'one'; wanted 0 to 1"),
        ({"label": [-1] * 4}, "carry no labels, so they cannot be scored"),
        ({"label": [None] * 4}, "carry no labels, so they cannot be scored"),
        ({"question": ["cause", "why", "cause", "effect"]}, "row 2 asks 'why'; wanted one of cause, effect"),
        ({"choice2": ["a", "b", " ", "d"]}, "row 3 has an empty premise or choice"),
        ({"premise": ["a", "b", "c", ""]}, "row 4 has an empty premise or choice"),
    ],
)
def test_faulty_rows_are_refused_in_one_line(changes, said):
    with pytest.raises(DataError) as refused:
        KIND.read(table(4, **changes))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_constant_labels_are_refused_as_a_placeholder():
    with pytest.raises(DataError, match="all have choice 0 as the right one, a placeholder"):
        KIND.read(table(10, label=[0] * 10))
    assert len(KIND.read(table(4, label=["0"] * 4))) == 4


def test_repeated_choice_column_is_refused():
    with pytest.raises(ValueError, match=r"columns.choices: one is listed twice"):
        ChoiceKeys(columns=ChoiceColumns(choices=("a", "a")))


def test_chance_is_one_over_the_number_of_choices():
    assert (KIND.chance, OF_THREE.chance) == (1 / 2, 1 / 3)
