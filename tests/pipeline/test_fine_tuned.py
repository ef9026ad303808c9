"""An already fine-tuned checkpoint is evaluated by the names of its labels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from world import LABELS

from tests.helpers import tiny
from xeval.results.predictions import load_predictions
from xeval.results.store import load_record
from xeval.support.errors import DefinitionError, ModelError
from xeval.support.files import read_ordinary


def renamed(checkpoint: Path, folder: Path, labels: tuple[str, ...]) -> Path:
    """Return a copy of the checkpoint whose head has labels of these names."""
    shutil.copytree(checkpoint, folder)
    names = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {}}
    AutoModelForSequenceClassification.from_pretrained(folder, **names).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {str(i): n for i, n in enumerate(labels)}
    return folder


def with_permuted_labels(checkpoint: Path, folder: Path) -> Path:
    """Return the same classifier with its head's rows and its label names in another order."""
    order = [2, 0, 1]
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight[order].clone())
        model.classifier.bias.copy_(model.classifier.bias[order].clone())
    names = [LABELS[place].upper() for place in order]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: place for place, name in enumerate(names)}
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def test_label_order_of_the_checkpoint_does_not_matter(empty, checkpoint_of, no_training):
    plain = checkpoint_of("bert", LABELS)
    permuted = with_permuted_labels(plain, empty.folder / "permuted")
    records = empty.run_all(models=[str(plain), str(permuted)], train=False)
    assert records[0].model.sha256 != records[1].model.sha256
    for language in tiny.LANGUAGES:
        tables = [
            load_predictions(folder, language, load_record(folder).scores[language].predictions_sha256)
            for folder in empty.folders()
        ]
        assert len(tables) == 2
        np.testing.assert_allclose(tables[0]["logits"].to_pylist(), tables[1]["logits"].to_pylist(), atol=1e-6)
        assert records[0].scores[language].totals["correct"] == records[1].scores[language].totals["correct"]
        assert tables[0]["prediction"] == tables[1]["prediction"]


@pytest.fixture
def weights_read(monkeypatch) -> list[Path]:
    """The weight files read so far."""
    files: list[Path] = []
    monkeypatch.setattr("xeval.engine.weights.read_ordinary", lambda file: files.append(file) or read_ordinary(file))
    return files


def test_weights_are_read_once_for_trial_and_run(empty, checkpoint_of, weights_read):
    model = checkpoint_of("bert", LABELS)
    first = empty.run(models=[str(model)], train=False, languages=["en"])
    assert weights_read == [model / "model.safetensors"]
    weights_read.clear()
    second = empty.run(models=[str(model)], train=False)  # one language is there already, others are added
    assert weights_read == [model / "model.safetensors"]
    assert second.scores["en"] == first.scores["en"]


def test_several_models_are_not_kept_in_memory(empty, checkpoint_of, weights_read):
    models = [checkpoint_of("bert", LABELS), checkpoint_of("distilbert", LABELS)]
    empty.run_all(models=list(map(str, models)), train=False, languages=["en"])
    assert sorted(weights_read) == sorted(2 * [model / "model.safetensors" for model in models])  # for trial and run


def test_no_train_needs_no_training_rows(empty, checkpoint_of, no_training):
    data = empty.copy_of_data()
    (data / "en" / "train-00000-of-00001.parquet").unlink()
    (data / "en" / "validation-00000-of-00001.parquet").unlink()
    record = empty.run(models=[str(checkpoint_of("bert", LABELS))], train=False, data=data)
    assert (record.status, record.training, record.recipe.name) == ("complete", None, "no-train")
    assert (sorted(record.data.sha256), record.data.train_rows) == (["test"], {})
    assert sorted(record.scores) == sorted(tiny.LANGUAGES)


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("entailment", "neutral", "contradiction", "other"),
        ("entailment", "not_entailment"),
        ("entailment", "neutral", "contradiction", "contradictory"),
    ],
)
def test_unrecognised_labels_are_refused_in_one_line(empty, labels, no_prediction):
    model = renamed(empty.model, empty.folder / "renamed", labels)
    with pytest.raises(ModelError, match=f"^model [^\n]*its labels are {', '.join(labels)}; [^\n]*$"):
        empty.run(models=[str(model)], train=False)
    assert empty.folders() == []


def test_labels_match_in_any_case_and_by_alias(empty, checkpoint_of):
    names = tuple(label.title() for label in LABELS)
    capitals = [('"entailment", "neutral", "contradiction"', ", ".join(f'"{name}"' for name in names))]
    capitals.append(('contradictory = "contradiction"', 'Contradictory = "Contradiction"'))
    task = tiny.write_task(empty.folder, *capitals)
    rows = {key: [(*row[:2], row[2].title()) for row in rows] for key, rows in tiny.mini_rows().items()}
    data = tiny.write_hub_layout(empty.folder / "data", rows, label_names=names)
    models = [
        checkpoint_of("bert", LABELS),
        checkpoint_of("bert", ("ENTAILMENT", "Neutral", "contradictory")),
    ]
    plain, other = empty.run_all(task=str(task), models=list(map(str, models)), data=data, train=False)
    assert {language: score.totals["correct"] for language, score in plain.scores.items()} == {
        language: score.totals["correct"] for language, score in other.scores.items()
    }


def test_no_train_refuses_a_checkpoint_without_a_head(empty):
    with pytest.raises(ModelError, match=r"^model [^\n]*no trained head for this task[^\n]*$"):
        empty.run(train=False)


def test_a_fine_tuned_checkpoint_can_be_fine_tuned_further(empty, checkpoint_of):
    record = empty.run(models=[str(checkpoint_of("bert", LABELS))], languages=["en"])
    assert record.status == "complete" and record.training.n_steps == 8


@pytest.mark.parametrize("options", [{"every_checkpoint": True}, {"every_checkpoint": False, "seeds": [1]}])
def test_no_train_refuses_training_options(empty, checkpoint_of, options):
    with pytest.raises(DefinitionError, match=r"^[^\n]*leave out --[^\n]* or --no-train[^\n]*$"):
        empty.run(models=[str(checkpoint_of("bert", LABELS))], train=False, **options)


def test_head_with_more_outputs_than_labels_is_named(empty, checkpoint_of, tmp_path):
    folder = Path(shutil.copytree(checkpoint_of("bert", LABELS), tmp_path / "bert"))
    settings = json.loads((folder / "config.json").read_text())
    del settings["id2label"], settings["label2id"]
    (folder / "config.json").write_text(json.dumps(settings))
    said = r"its head has 3 outputs, but its config\.json gives it 2 labels; name each output in id2label, with entail"
    with pytest.raises(ModelError, match=said):
        empty.run(models=[str(folder)], train=False)
    settings["id2label"] = dict(enumerate(LABELS))
    (folder / "config.json").write_text(json.dumps(settings))
    named = empty.run(models=[str(folder)], train=False)
    whole = empty.run(models=[str(checkpoint_of("bert", LABELS))], train=False)
    assert {language: score.totals for language, score in named.scores.items()} == {
        language: score.totals for language, score in whole.scores.items()
    }
