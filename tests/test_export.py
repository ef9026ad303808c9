"""The folder that `xeval export` writes loads in transformers and, in xeval, gives the run's logits to the bit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.helpers import tiny
from xeval.cli import main
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.results.store import StoredRun, load_runs
from xeval.runs.export import export
from xeval.runs.grid import run
from xeval.support.cache import cache_home, clear
from xeval.support.errors import StoreError

FEW = {"max_train": 24, "max_eval": 12, "languages": ["en", "es"], "device": "cpu", "dtype": "float32"}
HEADS = {
    "xnli-mini": "AutoModelForSequenceClassification",
    "tags-mini": "AutoModelForTokenClassification",
    "answers-mini": "AutoModelForQuestionAnswering",
    "my-topics": "AutoModelForSequenceClassification",
    "my-choices": "AutoModelForMultipleChoice",
}
TASK = """
name = "{name}"
title = "Made up"
kind = "{kind}"
metric = "accuracy"
default_recipe = "mini"
training_language = "en"
languages = ["en", "es"]
licence = "CC0-1.0"
citation = "Made up."
source_url = "https://example.org"
{more}
[expected_rows]
train = 24
selection = 12
test = 12
"""
MORE = {
    "my-topics": ("sentence-classification", 'labels = ["a dog", "a cat"]'),
    "my-choices": ("multiple-choice", ""),
}


def own_rows(name: str, n: int, language: str) -> list[dict]:
    if name == "my-topics":
        return [{"text": f"{language} word {i}", "label": ("a dog", "a cat")[i % 2]} for i in range(n)]
    shared = [{"premise": f"{language} it rains {i}", "question": "effect"} for i in range(n)]
    return [row | {"choice1": "it is wet", "choice2": f"it is {i}", "label": i % 2} for i, row in enumerate(shared)]


def task_of(name: str, folder: Path) -> dict:
    """What to run: a shipped task, or a task file and its rows."""
    if name not in MORE:
        return {"task": name}
    kind, more = MORE[name]
    (folder / f"{name}.toml").write_text(TASK.format(name=name, kind=kind, more=more))
    for language in ("en", "es"):
        (folder / "data" / language).mkdir(parents=True)
        for split, n in (("train", 24), ("validation", 12), ("test", 12)):
            lines = map(json.dumps, own_rows(name, n, f"{language} {split}"))
            (folder / "data" / language / f"{split}.jsonl").write_text("\n".join(lines))
    return {"task": str(folder / f"{name}.toml"), "data": folder / "data"}


def trained(folder: Path, name: str = "xnli-mini", **more) -> StoredRun:
    options = task_of(name, folder) | FEW | {"models": ["mini-distilmbert"], "overrides": {"max_steps": 2}}
    run(**(options | {"results": folder / "results"} | more))
    [stored] = load_runs(folder / "results")
    return stored


@pytest.mark.parametrize("name", HEADS)
def test_exported_folder_reproduces_predictions(name, tmp_path):
    stored = trained(tmp_path, name)
    export(stored, tmp_path / "mine")
    task = {"task": stored.record.task} if name not in MORE else {"task": str(tmp_path / f"{name}.toml")}
    data = {"data": tmp_path / "data"} if name in MORE else {}
    run(**(task | data | FEW), models=[str(tmp_path / "mine")], train=False, results=tmp_path / "again")
    [again] = load_runs(tmp_path / "again")
    for language in ("en", "es"):
        assert again.predictions(language).equals(stored.predictions(language))
    model, report = getattr(transformers, HEADS[name]).from_pretrained(tmp_path / "mine", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    if stored.record.labels and name != "my-choices":
        assert model.config.id2label == dict(enumerate(stored.record.labels))


def test_transformers_alone_reproduces_the_logits(tmp_path):
    stored = trained(tmp_path)
    export(stored, tmp_path / "mine")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "mine").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "mine")
    rows = load_rows(open_source(get_task("xnli-mini"), None, ["es"]), "es", "test")
    max_length = stored.record.recipe.values["max_length"]
    expected = stored.predictions("es")
    for number, logits in zip(expected["row"].to_pylist(), expected["logits"].to_pylist(), strict=True):
        pair = [rows.texts[name][number] for name in ("premise", "hypothesis")]
        encoded = tokenizer(*pair, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            torch.testing.assert_close(model(**encoded).logits[0], torch.tensor(logits), rtol=0, atol=1e-5)


def test_export_works_without_the_pretrained_folder(tmp_path, checkpoint_of):
    model = Path(shutil.copytree(checkpoint_of("bert"), tmp_path / "encoder"))
    rows = tiny.write_hub_layout(tmp_path / "data", tiny.mini_rows())
    task = tiny.write_task(tmp_path)
    (tmp_path / "two.toml").write_text(
        'name = "two"\ndescription = "Two steps"\nlearning_rate = 0.1\nbatch_size = 4\nmax_steps = 2\nmax_length = 32\n'
    )
    options = {"task": str(task), "data": rows, "recipe": str(tmp_path / "two.toml"), "device": "cpu"}
    run(**options, models=[str(model)], dtype="float32", results=tmp_path / "results")
    shutil.rmtree(model)
    [stored] = load_runs(tmp_path / "results")
    export(stored, tmp_path / "mine")
    run(**options, models=[str(tmp_path / "mine")], train=False, dtype="float32", results=tmp_path / "again")
    [again] = load_runs(tmp_path / "again")
    for language in stored.record.scores:
        np.testing.assert_array_equal(
            again.predictions(language)["logits"].to_pylist(), stored.predictions(language)["logits"].to_pylist()
        )


def test_impossible_exports_are_refused_in_one_line(tmp_path):
    stored = trained(tmp_path, languages=["en"])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"^[^\n]*taken: wanted a new or empty folder[^\n]*$"):
        export(stored, tmp_path / "taken")
    assert (tmp_path / "taken" / "notes.txt").read_text() == "mine"
    (tmp_path / "there").mkdir()
    export(stored, tmp_path / "there")  # empty
    run("xnli-mini", [str(tmp_path / "there")], **(FEW | {"languages": ["en"]}), train=False, results=tmp_path / "as")
    [as_it_is] = load_runs(tmp_path / "as")
    with pytest.raises(StoreError, match=r"^[^\n]*nothing was trained in it; it evaluated there as it is$"):
        export(as_it_is, tmp_path / "other")
    clear("weights")
    with pytest.raises(StoreError, match=r"^[^\n]*no longer in the cache; run it again with another --results[^\n]*$"):
        export(stored, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_weights_of_version_0_1_0_get_their_tokenizer(tmp_path):
    stored = trained(tmp_path, languages=["en"])
    [kept] = (cache_home() / "weights").iterdir()
    for path in kept.glob("tokenizer*"):
        path.unlink()
    lines = (kept / "SHA256SUMS").read_text().splitlines(keepends=True)
    (kept / "SHA256SUMS").write_text("".join(line for line in lines if "tokenizer" not in line))
    export(stored, tmp_path / "mine")
    assert (tmp_path / "mine" / "tokenizer.json").is_file()


def test_export_command_wants_exactly_one_run(tmp_path, monkeypatch, capsys):
    options = FEW | {"languages": ["en"], "overrides": {"max_steps": 1}, "results": tmp_path / "results"}
    run("xnli-mini", ["mini-distilmbert"], seeds=[1, 2], **options)

    def xeval(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["xeval", *words, "--results", str(tmp_path / "results")])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, "".join(capsys.readouterr())

    code, said = xeval("export", "mini-distilmbert", str(tmp_path / "mine"))
    assert code == 2 and "it holds 2 seeds; name one: mini-distilmbert:seed=1, mini-distilmbert:seed=2" in said
    code, said = xeval("export", "mini-distilmbert:seed=2", str(tmp_path / "mine"))
    assert code == 0 and said.startswith("mini-distilmbert mini seed 2 is in ")
    assert "--no-train --model" in said
