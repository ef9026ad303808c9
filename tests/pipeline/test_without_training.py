"""Tasks without training: what their runs, records, reports and comparisons contain, and what is refused."""

import json

import pytest
from transformers import AutoModel, AutoTokenizer

import xeval
from xeval.support.errors import DefinitionError

TASK = """
name = "pairs-of-lines"
title = "Pairs of lines"
kind = "sentence-retrieval"
metric = "accuracy"
default_recipe = "mini-vectors"
training_language = "en"
languages = ["de", "zh"]
licence = "CC0-1.0"
citation = "Nobody."
source_url = "https://example.org"

[files]
test = ["lines/{language}-en.*", "{language}-en.*"]

[expected_rows.test]
default = 30
zh = 20
"""
TEXTS = {
    "de": "die kleine Katze sieht das alte Haus",
    "zh": "小 猫 看见 那 座 老 房子",
    "en": "the small cat sees that house",
}


@pytest.fixture
def folder(tmp_path, checkpoint_of, monkeypatch):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pairs-of-lines.toml").write_text(TASK)
    (tmp_path / "data/lines").mkdir(parents=True)
    for language, n in (("de", 30), ("zh", 20)):
        for side in (language, "en"):
            words = TEXTS[side].split()
            lines = [" ".join(words[(i + j) % len(words)] for j in range(1 + i % 5)) for i in range(n)]
            (tmp_path / f"data/lines/{language}-en.{side}").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(folder, model, **options) -> list:
    return xeval.run(
        str(folder / "pairs-of-lines.toml"),
        [str(model)],
        **{"data": folder / "data", "results": folder / "results", "device": "cpu", "dtype": "float32"} | options,
    )


def test_a_run_needs_no_training_and_claims_none(folder, checkpoint_of, command):
    (record,) = run(folder, checkpoint_of("bert"))
    assert record.status == "complete"
    assert {language: score.n_rows for language, score in record.scores.items()} == {"de": 30, "zh": 20}
    assert record.training is None
    assert record.recipe.values == {"max_length": 64, "pooling": "mean", "layer": 1}
    assert record.data.sha256.keys() == {"test"}
    assert record.data.train_rows == {}

    code, shown, _ = command("report", "--results", folder / "results")
    assert code == 0
    assert "evaluated as it is, without training, by the mean of layer 1" in shown
    for word in ("fine-tuned", "zero-shot", "seed 42", "learning rate"):
        assert word not in shown
    for how in ("html", "latex", "csv", "json", "model-card"):
        assert command("report", "--results", folder / "results", "--format", how)[0] == 0


def test_the_record_counts_the_whole_encoder(folder, checkpoint_of):
    (record,) = run(folder, checkpoint_of("bert"))
    assert record.model.n_layers == 2
    whole = AutoModel.from_pretrained(checkpoint_of("bert"))
    assert record.model.n_parameters == sum(parameter.numel() for parameter in whole.parameters())


def test_layer_and_pooling_make_another_run(folder, checkpoint_of, command):
    runs = [run(folder, checkpoint_of("bert"))[0] for _ in range(2)]
    runs += run(folder, checkpoint_of("bert"), overrides={"layer": 2})
    runs += run(folder, checkpoint_of("bert"), overrides={"pooling": "first token"})
    runs += run(folder, checkpoint_of("bert"), overrides={"max_length": 32})
    assert len({record.identity for record in runs}) == 4
    folders = sorted(path.parent for path in (folder / "results").rglob("record.json"))
    assert len(folders) == 4
    code, shown, _ = command("compare", folders[0], folders[1])
    assert code == 0
    assert "de" in shown


def test_another_language_is_added_later(folder, checkpoint_of):
    run(folder, checkpoint_of("bert"), languages=["zh"])
    (record,) = run(folder, checkpoint_of("bert"), languages=["de"])
    assert record.scores.keys() == {"de", "zh"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": [1]}, "leave out --seed, since task pairs-of-lines trains nothing"),
        ({"every_checkpoint": True}, "leave out --every-checkpoint, since task pairs-of-lines trains nothing"),
        ({"recipe": "hf-2019"}, "recipe hf-2019: task pairs-of-lines needs one that says a pooling"),
        ({"overrides": {"epochs": 3.0}}, "epochs: a recipe with a pooling trains nothing"),
        ({"overrides": {"layer": 3}}, "has 2 layers, and it names layer 3; give --layer"),
        ({"overrides": {"pooling": "max"}}, "pooling: Input should be 'mean' or 'first token'"),
        ({"recipe": "xtreme-vectors"}, "has 2 layers, and it names no layer for that many; give --layer"),
    ],
)
def test_unsuitable_options_are_refused_in_one_line(folder, checkpoint_of, options, said):
    with pytest.raises(DefinitionError) as refused:
        run(folder, checkpoint_of("bert"), **options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_training_task_refuses_a_recipe_without_training(mini, checkpoint_of):
    with pytest.raises(
        DefinitionError, match="task mini-pairs needs one that says how to train, and this one says a pooling"
    ):
        xeval.run(str(mini.task_file), [str(checkpoint_of("bert"))], recipe="mini-vectors", data=mini.data)


def test_a_damaged_encoder_is_refused(folder, checkpoint_of, tmp_path):
    broken = tmp_path / "broken"
    model = AutoModel.from_pretrained(checkpoint_of("bert"))
    model.encoder.layer = model.encoder.layer[:1]
    model.save_pretrained(broken)
    AutoTokenizer.from_pretrained(checkpoint_of("bert")).save_pretrained(broken)
    config = json.loads((broken / "config.json").read_text()) | {"num_hidden_layers": 2}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(xeval.XevalError, match=r"its weights lack 16 of the encoder's tensors"):
        run(folder, broken)


def test_doctor_counts_the_test_rows(folder, checkpoint_of, command):
    code, shown, _ = command(
        "doctor", folder / "pairs-of-lines.toml", "--model", checkpoint_of("bert"), "--data", folder / "data"
    )
    assert code == 0
    assert "20 to 30 to test on in each of 2 languages" in shown
    assert "train" not in shown


def test_bundled_model_does_well_on_retrieval_mini(tmp_path, checkpoint_of):
    (record,) = xeval.run("retrieval-mini", ["mini-distilmbert"], languages=["de"], results=tmp_path, device="cpu")
    assert record.scores["de"].n_rows == 400
    assert record.scores["de"].value > 0.4  # it was pretrained on sentences like these
