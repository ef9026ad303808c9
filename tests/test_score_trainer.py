"""Predictions of the transformers Trainer, in the format of run_xnli.py, get the score that the Trainer computes.

https://github.com/huggingface/transformers/blob/main/examples/pytorch/text-classification/run_xnli.py
"""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from tests.helpers import tiny

pytest.importorskip("accelerate", reason="the Trainer needs accelerate, of the extra bench")

LABELS = ("entailment", "neutral", "contradiction")


class Encoded(torch.utils.data.Dataset):
    def __init__(self, tokenizer, rows: list[tiny.Row]) -> None:
        premises, hypotheses, labels = tiny.columns(rows)
        self._inputs = tokenizer(premises, hypotheses, padding="max_length", max_length=48, truncation=True)
        self._labels = [LABELS.index(label) for label in labels]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, place: int) -> dict:
        return {name: column[place] for name, column in self._inputs.items()} | {"labels": self._labels[place]}


def accuracy(predicted) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean())}


@pytest.fixture(scope="module")
def trained(checkpoint_of, tmp_path_factory):
    """The Trainer after a few steps on English, and its tokenizer."""
    folder = checkpoint_of("bert", LABELS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    arguments = TrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("trainer")),
        max_steps=8,
        learning_rate=3e-3,
        per_device_train_batch_size=6,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=5,
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    english = Encoded(tokenizer, tiny.make_rows("en", 24))
    trainer = Trainer(model=model, args=arguments, train_dataset=english, compute_metrics=accuracy)
    trainer.train()
    return trainer, tokenizer


def test_trainer_predictions_get_the_trainers_score(trained, mini, tmp_path, command):
    trainer, tokenizer = trained
    expected = {}
    for language in tiny.LANGUAGES:
        rows = tiny.mini_rows()["test", language]
        predictions, _, metrics = trainer.predict(Encoded(tokenizer, rows), metric_key_prefix="predict")
        expected[language] = metrics["predict_accuracy"]
        lines = [f"{index}\t{LABELS[label]}" for index, label in enumerate(np.argmax(predictions, axis=1))]
        path = tmp_path / "predictions" / language / "predict_results.txt"
        path.parent.mkdir(parents=True)
        path.write_text("index\tprediction\n" + "\n".join(lines) + "\n")
    words = ("--predictions", tmp_path / "predictions", "--model", "theirs", "--data", mini.data, "-q")
    code, out, _ = command("score", mini.task_file, *words, "--results", tmp_path / "results", "--format", "json")
    [record] = json.loads(out)
    assert code == 0
    assert {language: score["value"] for language, score in record["scores"].items()} == pytest.approx(expected)
    assert len(set(expected.values())) > 1 or 0 < expected["en"] < 1  # otherwise this test could not fail
