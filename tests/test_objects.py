"""Models and rows in memory give what their folders give, and a changed object is a new one."""

import os
from pathlib import Path

import datasets
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import xeval
from tests.helpers import tiny
from xeval.results.store import load_runs
from xeval.support.cache import cache_home, clear
from xeval.support.progress import Silent

SHORT = {"overrides": {"epochs": 1.0}, "dtype": "float32", "device": "cpu"}


class Listening(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(params=["bert", "xlm-roberta"])
def folder(request, checkpoint_of) -> Path:
    return checkpoint_of(request.param)


@pytest.fixture
def encoder(checkpoint_of):
    return loaded(checkpoint_of("bert"))


@pytest.fixture
def fine_tuned(checkpoint_of):
    return loaded(checkpoint_of("bert", tiny.LABELS), AutoModelForSequenceClassification)


def loaded(folder: Path, kind=AutoModel):
    return kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def copies() -> list[Path]:
    return sorted(path.parent for path in (cache_home() / "objects").rglob("SHA256SUMS"))


def predicted(results: Path) -> dict[str, list]:
    return {path.name: pq.read_table(path).to_pylist() for path in results.rglob("predictions/*.parquet")}


def frame_of(mini, language: str, split: str) -> pd.DataFrame:
    """With labels as text, as in people's own frames."""
    [path] = (mini.data / language).glob(f"{split}-*.parquet")
    frame = pq.read_table(path).to_pandas()
    return frame.assign(label=frame["label"].map(dict(enumerate(tiny.LABELS))))


def dataset_of(mini, language: str, split: str) -> datasets.Dataset:
    rows = datasets.Dataset.from_pandas(frame_of(mini, language, split))
    return rows.cast_column("label", datasets.ClassLabel(names=sorted(tiny.LABELS)))


ENGLISH = ("train", "validation", "test")


# ── models ──


def test_model_in_memory_trains_like_its_folder(mini, folder, tmp_path):
    options = {"data": mini.data, **SHORT}
    [of_folder] = xeval.run(str(mini.task_file), str(folder), results=tmp_path / "folder", **options)
    [of_object] = xeval.run(str(mini.task_file), loaded(folder), results=tmp_path / "object", **options)
    assert of_object.training.weights_sha256 == of_folder.training.weights_sha256
    assert predicted(tmp_path / "object") == predicted(tmp_path / "folder") != {}
    assert of_object.model.origin == "local" and of_object.model.id.startswith(f"{folder.name}-")


def test_using_an_object_does_not_make_it_a_new_model(mini, encoder, tmp_path):
    options = {"data": mini.data, "results": tmp_path, **SHORT}
    before = {name: tensor.clone() for name, tensor in encoder[0].state_dict().items()}
    listening = Listening()
    [first] = xeval.run(str(mini.task_file), encoder, **options, reporter=listening)
    encoder[1]("a cat", truncation=True, max_length=7, padding="max_length")
    encoder[0].train()
    [second] = xeval.run(str(mini.task_file), encoder, **options)
    assert second == first and len(load_runs(tmp_path)) == 1
    [copy] = copies()
    assert any(f"a copy of the model is in {copy}" in line for line in listening.lines)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder[0].state_dict().items())


def test_changed_object_is_a_new_model(mini, fine_tuned, tmp_path):
    options = {"data": mini.data, "results": tmp_path, "train": False, **SHORT}
    [before] = xeval.run(str(mini.task_file), {"mine": fine_tuned}, **options)
    with torch.no_grad():
        fine_tuned[0].classifier.bias += 1.0
    [after] = xeval.run(str(mini.task_file), {"mine": fine_tuned}, **options)
    assert (before.model.id, after.model.id) == ("mine", "mine")
    assert before.model.sha256 != after.model.sha256 and len(load_runs(tmp_path)) == 2


def test_names_and_objects_can_share_one_list(mini, fine_tuned, checkpoint_of, tmp_path):
    models = [str(checkpoint_of("distilbert", tiny.LABELS)), fine_tuned]
    runs = xeval.run(str(mini.task_file), models, data=mini.data, train=False, results=tmp_path, dtype="float32")
    assert [run.model.architecture for run in runs] == ["distilbert", "bert"]


def test_missing_or_damaged_copy_is_made_again(mini, fine_tuned, tmp_path):
    options = {"data": mini.data, "train": False, "dtype": "float32"}
    [first] = xeval.run(str(mini.task_file), fine_tuned, results=tmp_path / "1", **options)
    clear("objects")
    [second] = xeval.run(str(mini.task_file), fine_tuned, results=tmp_path / "2", **options)
    [copy] = copies()
    (copy / "model.safetensors").write_bytes(b"")
    [third] = xeval.run(str(mini.task_file), fine_tuned, results=tmp_path / "3", **options)
    assert first.model == second.model == third.model and first.scores.keys() == third.scores.keys()


def test_without_a_usable_cache_copies_lie_elsewhere(mini, fine_tuned, tmp_path):
    cache = Path(os.environ["XEVAL_CACHE"])
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("")
    frames, listening = {"es": frame_of(mini, "es", "test")}, Listening()
    options = {"data": frames, "languages": "es", "train": False, "dtype": "float32", "results": tmp_path}
    [run] = xeval.run(str(mini.task_file), fine_tuned, **options, reporter=listening)
    assert run.status == "complete"
    places = [Path(line.partition(" is in ")[2]) for line in listening.lines if "a copy of the " in line]
    assert [(place / "SHA256SUMS").is_file() for place in places] == [True, True]  # of the model and of the rows
    assert cache.read_text() == "" and not any(place.is_relative_to(cache) for place in places)


class Half:
    """A model of some other library."""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda pair: pair[0], "(model, tokenizer), got BertModel alone"),
        (lambda pair: (pair[1], pair[0]), "got BertTokenizer alone"),
        (lambda pair: [(pair[0],)], "got (BertModel)"),
        (lambda pair: [(pair[1], pair[0])], "got (BertTokenizer, BertModel)"),
        (lambda pair: [pair, Half()], "got Half"),
        (lambda pair: {"mine": pair[0]}, "got BertModel alone"),
        (lambda pair: {"a/b": pair}, "wanted names of letters, digits and ._-, got 'a/b'"),
        (lambda pair: 5, "got int"),
        (lambda pair: (pair[0].to("meta"), pair[1]), "it cannot be saved"),
    ],
)
def test_non_models_are_refused_in_one_line(mini, encoder, make, said):
    with pytest.raises(xeval.XevalError) as refused:
        xeval.run(str(mini.task_file), make(encoder), data=mini.data)
    assert said in str(refused.value) and "\n" not in str(refused.value) and not copies()


def test_unused_copies_are_removed_over_the_size_limit(monkeypatch, mini, fine_tuned, tmp_path):
    from xeval.support import cache

    options = {"data": mini.data, "train": False, "dtype": "float32", "results": tmp_path}
    xeval.run(str(mini.task_file), fine_tuned, **options)
    monkeypatch.setattr(cache, "WEIGHTS_LIMIT_BYTES", 0)
    assert cache.forget_unused("objects") == ""
    monkeypatch.setattr(cache, "UNUSED_DAYS", -1)
    assert cache.forget_unused("objects").startswith("removed from the cache: 1 copy of objects that nobody had used")
    assert not copies()


# ── rows ──


@pytest.mark.parametrize("make", [frame_of, dataset_of], ids=["frames", "datasets"])
def test_rows_in_memory_give_the_results_of_the_folder(mini, checkpoint_of, tmp_path, make):
    model = str(checkpoint_of("bert"))
    english = {split: make(mini, "en", split) for split in ENGLISH}
    if make is dataset_of:
        english = datasets.DatasetDict(english)
    data = {"English": english, **{language: make(mini, language, "test") for language in ("es", "zh")}}
    [of_folder] = xeval.run(str(mini.task_file), model, data=mini.data, results=tmp_path / "folder", **SHORT)
    [of_objects] = xeval.run(str(mini.task_file), model, data=data, results=tmp_path / "objects", **SHORT)
    assert of_objects.identity == of_folder.identity
    assert of_objects.data.sha256 == of_folder.data.sha256
    assert predicted(tmp_path / "objects") == predicted(tmp_path / "folder") != {}


def test_rows_by_split_have_their_language_in_a_column(mini, checkpoint_of, tmp_path):
    tests = pd.concat([frame_of(mini, code, "test").assign(language=code) for code in ("en", "es", "zh")])
    data = {"train": frame_of(mini, "en", "train"), "dev": frame_of(mini, "en", "validation"), "test": tests}
    options = {"results": tmp_path, **SHORT}
    [run] = xeval.run(str(mini.task_file), str(checkpoint_of("bert")), data=data, **options)
    [again] = xeval.run(str(mini.task_file), str(checkpoint_of("bert")), data=mini.data, **options)
    assert again == run and list(run.scores) == ["en", "es", "zh"]


def test_only_test_rows_of_other_languages_are_copied(mini, checkpoint_of, tmp_path):
    """Zero-shot means zero-shot, and copying what nobody reads is a waste."""
    data = {
        code: {split: frame_of(mini, "en", split) for split in ENGLISH} | {"test": frame_of(mini, code, "test")}
        for code in ("en", "es")
    }
    xeval.run(str(mini.task_file), str(checkpoint_of("bert")), languages=["es"], data=data, results=tmp_path, **SHORT)
    [copy] = copies()
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*.parquet")) == [
        *(f"en/{split}.parquet" for split in ("test", "train", "validation")),
        "es/test.parquet",
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda frame: 5, "wanted a datasets.Dataset or a pandas frame, got int"),
        (lambda frame: {"es": [1]}, "got list"),
        (lambda frame: {"Klingon": frame}, "unknown language of task mini-pairs in data 'Klingon'"),
        (lambda frame: {"es": {"tst": frame}}, "of 'es', wanted the splits train, validation, test, got tst"),
        (lambda frame: frame, "wanted a column 'language' in the test rows"),
        (lambda frame: {}, "got none"),
        (lambda frame: {"es": frame.drop(columns="premise")}, "no column 'premise'"),
        (lambda frame: {"es": frame.assign(premise=[object()] * len(frame))}, "columns that cannot be written"),
        (lambda frame: {"es": frame.iloc[:3]}, "wanted 12, found 3"),
        (lambda frame: {"es": frame.assign(label="maybe")}, "maybe"),
        (lambda frame: {"es": datasets.Dataset.from_pandas(frame).to_iterable_dataset()}, "got IterableDataset"),
        (lambda frame: {"es": frame, "Spanish": frame}, "the test rows of 'es' occur under two names"),
        (lambda frame: frame.assign(language=["es", "spa"] * (len(frame) // 2)), "the test rows of 'es' occur under"),
    ],
)
def test_unusable_data_is_refused_in_one_line(mini, checkpoint_of, make, said):
    model = str(checkpoint_of("bert", tiny.LABELS))
    with pytest.raises(xeval.XevalError) as refused:
        data = make(frame_of(mini, "es", "test"))
        xeval.run(str(mini.task_file), model, data=data, languages="es", train=False)
    assert said in str(refused.value) and "\n" not in str(refused.value)


# ── other calls ──


def test_reproduce_takes_rows_in_memory(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_TASKS", str(mini.task_file.parent))
    table = tmp_path / "table.toml"
    table.write_text(
        'name = "table"\ntitle = "t"\ntask = "mini-pairs"\nsplit = "test"\nsource_url = "x"\nlanguages = ["es"]\n'
        '[[rows]]\nname = "Bert"\nmodel = "mini-mbert"\nhow = "computed"\nrecipe = "hf-2019"\n'
        "cells = { es = 50.0 }\n"
    )
    options = {"seeds": [1], "results": tmp_path / "results", **SHORT}
    data = {"en": {split: frame_of(mini, "en", split) for split in ENGLISH}, "es": frame_of(mini, "es", "test")}
    [run] = xeval.reproduce(str(table), data=data, **options)
    [again] = xeval.reproduce(str(table), data=mini.data, **options)
    assert again == run and run.scores.keys() == {"es"}


def test_reproduce_refuses_wrong_splits_in_memory(tmp_path):
    with pytest.raises(xeval.XevalError, match="of 'en', wanted the splits train, validation, test, got tst"):
        xeval.reproduce("xnli-mini", data={"en": {"tst": pd.DataFrame()}}, results=tmp_path)


def test_audit_accepts_objects(mini, fine_tuned):
    data = {"es": frame_of(mini, "es", "test")}
    options = {"device": "cpu", "dtype": "float32"}
    found = xeval.audit(str(mini.task_file), fine_tuned, "es", 0.99, data=data, **options)
    assert found.looked.outcome == "refuted"


def test_external_predictions_score_on_rows_in_memory(mini, tmp_path):
    frame = frame_of(mini, "es", "test")
    frame[["label"]].to_json(tmp_path / "test-es.jsonl", orient="records", lines=True)
    options = {"model": "mine", "results": tmp_path / "results"}
    record = xeval.score(str(mini.task_file), tmp_path / "test-es.jsonl", data={"es": frame}, **options)
    assert record.scores["es"].value == 1.0
