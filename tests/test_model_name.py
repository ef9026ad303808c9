"""Every command accepts the same names for a model."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.sample_record import SHA, run_record
from xeval.data.model_files import find_checkpoint
from xeval.definitions.model_name import EMBEDDED_MODELS, MODEL_ALIASES, ModelName
from xeval.results.records import ModelRecord
from xeval.results.store import save_record
from xeval.support.errors import UnknownNameError, XevalError

# As the publishers name them on the hub.
HUB_IDS = {
    "mbert": "google-bert/bert-base-multilingual-cased",
    "mbert-uncased": "google-bert/bert-base-multilingual-uncased",
    "distilmbert": "distilbert/distilbert-base-multilingual-cased",
    "xlmr-base": "FacebookAI/xlm-roberta-base",
    "xlmr-large": "FacebookAI/xlm-roberta-large",
    "mdeberta": "microsoft/mdeberta-v3-base",
}
COMMIT = "3f076fdb1ab68d5b2880cb87a0886f315b8146f8"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(error_type: type[XevalError], call, *arguments) -> str:
    with pytest.raises(error_type) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── what a name means ──


def test_every_promised_alias_stands_for_its_model():
    assert MODEL_ALIASES == HUB_IDS


@pytest.mark.parametrize(
    ("text", "model_id", "revision"),
    [
        ("mbert", HUB_IDS["mbert"], None),
        ("mbert@v1", HUB_IDS["mbert"], "v1"),
        ("organisation/name", "organisation/name", None),
        ("organisation/name@refs/pr/1", "organisation/name", "refs/pr/1"),
        ("organisation/name@", "organisation/name", None),
    ],
)
def test_hub_model_can_be_pinned_to_a_revision(text, model_id, revision):
    assert ModelName.parse(text) == ModelName(model_id, "hub", revision)


@pytest.mark.parametrize(
    ("text", "model_id", "revision"),
    [
        ("bert-base-multilingual-cased", HUB_IDS["mbert"], None),
        ("bert-base-multilingual-cased@v1", HUB_IDS["mbert"], "v1"),
        ("bert-base-multilingual-uncased", HUB_IDS["mbert-uncased"], None),
        ("distilbert-base-multilingual-cased", HUB_IDS["distilmbert"], None),
        ("xlm-roberta-base", HUB_IDS["xlmr-base"], None),
        ("xlm-roberta-large", HUB_IDS["xlmr-large"], None),
    ],
)
def test_old_hub_names_stand_for_todays_models(text, model_id, revision):
    """Names from before organisations, which the hub redirects."""
    assert ModelName.parse(text) == ModelName(model_id, "hub", revision)


@pytest.mark.parametrize(
    ("text", "model_id", "revision"),
    [
        ("https://huggingface.co/google-bert/bert-base-multilingual-cased", HUB_IDS["mbert"], None),
        ("https://huggingface.co/google-bert/bert-base-multilingual-cased/", HUB_IDS["mbert"], None),
        ("https://huggingface.co/google-bert/bert-base-multilingual-cased/tree/main", HUB_IDS["mbert"], None),
        (
            "https://huggingface.co/google-bert/bert-base-multilingual-cased/blob/main/config.json",
            HUB_IDS["mbert"],
            None,
        ),
        ("https://huggingface.co/bert-base-multilingual-cased", HUB_IDS["mbert"], None),
        ("https://huggingface.co/bert-base-multilingual-cased/tree/main", HUB_IDS["mbert"], None),
        ("http://www.huggingface.co/organisation/name?library=transformers#usage", "organisation/name", None),
        ("huggingface.co/organisation/name/discussions/3", "organisation/name", None),
        ("hf.co/organisation/name", "organisation/name", None),
        (f"https://huggingface.co/organisation/name/tree/{COMMIT}", "organisation/name", COMMIT),
        ("https://huggingface.co/organisation/name/tree/refs%2Fpr%2F1", "organisation/name", "refs/pr/1"),
        (
            "https://huggingface.co/organisation/name/resolve/refs/pr/1/model.safetensors",
            "organisation/name",
            "refs/pr/1",
        ),
        ("https://huggingface.co/organisation/name@v1", "organisation/name", "v1"),
        ("https://huggingface.co/organisation/tree", "organisation/tree", None),
    ],
)
def test_hub_address_stands_for_its_model(text, model_id, revision):
    assert ModelName.parse(text) == ModelName(model_id, "hub", revision)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://huggingface.co/datasets/facebook/xnli", "got that of a data set"),
        ("https://huggingface.co/", "got that of no model"),
        ("https://example.org/organisation/name", "got the address of another site"),
        ("https://huggingface.co/organisation/name/tree/main/onnx", "got the sub-folder onnx"),
        ("https://huggingface.co/organisation/name/blob/main/onnx/config.json", "got the sub-folder onnx"),
    ],
)
def test_other_addresses_are_refused(text, reason):
    assert reason in refusal(XevalError, ModelName.parse, text)


def test_file_instead_of_a_folder_is_refused(in_a_folder_of_its_own):
    (in_a_folder_of_its_own / "model.safetensors").write_bytes(b"")
    assert "found a file; give the folder that it is in" in refusal(XevalError, ModelName.parse, "./model.safetensors")


@pytest.mark.parametrize("text", ["./my-encoder", "my-encoder", "group/my-encoder", "../here/my-encoder"])
def test_folder_is_a_model_under_any_path(in_a_folder_of_its_own, monkeypatch, text):
    here = in_a_folder_of_its_own / "here"
    (here / "my-encoder").mkdir(parents=True)
    (here / "group" / "my-encoder").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert ModelName.parse(text) == ModelName("my-encoder", "local", folder=Path(text).resolve())


@pytest.mark.parametrize("text", ["/nowhere/model", "./model", "../model", "~/nowhere/model", "~nobody-at-all/model"])
def test_missing_folder_is_not_looked_up_on_the_hub(text):
    assert f"model {text}: wanted a folder with config.json" in refusal(XevalError, find_checkpoint, text)


@pytest.mark.parametrize("text", [*EMBEDDED_MODELS, "my-encoder", "./my-encoder"])
def test_revision_of_a_non_hub_model_is_refused(in_a_folder_of_its_own, text):
    (in_a_folder_of_its_own / "my-encoder").mkdir()
    message = refusal(XevalError, ModelName.parse, f"{text}@v1")
    assert message == f"model {text}@v1: only models of the hub have revisions; leave out @v1"


def test_pinned_hub_id_wins_over_a_folder_of_that_name(in_a_folder_of_its_own):
    (in_a_folder_of_its_own / "organisation" / "name").mkdir(parents=True)
    assert ModelName.parse("organisation/name").origin == "local"
    assert ModelName.parse("organisation/name@v1") == ModelName("organisation/name", "hub", "v1")


def test_folder_can_be_declared_a_published_model(in_a_folder_of_its_own):
    (in_a_folder_of_its_own / "copy").mkdir()
    name = ModelName.parse("mbert=./copy")
    assert (name.id, name.origin, name.published_as) == ("copy", "local", MODEL_ALIASES["mbert"])
    assert ModelName.parse("organisation/name=copy").published_as == "organisation/name"
    (in_a_folder_of_its_own / "mbert=v2").mkdir()  # a folder with an = in its name is that folder
    assert (ModelName.parse("mbert=v2").id, ModelName.parse("mbert=v2").published_as) == ("mbert=v2", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mbert=./nowhere", "wanted a folder after the =, found none there"),
        ("mbert=", "wanted a folder after the ="),
        ("./copy=./copy", "wanted the name of a published model before the =, without a revision"),
        ("mbert@v1=./copy", "wanted the name of a published model before the =, without a revision"),
    ],
)
def test_bad_folder_declaration_is_refused_in_one_line(in_a_folder_of_its_own, text, said):
    (in_a_folder_of_its_own / "copy").mkdir()
    assert refusal(XevalError, ModelName.parse, text).startswith(f"model {text}: {said}")


@pytest.mark.parametrize("text", ["", "@v1", "distilbert@v1", "x" * 5000, "a\0b"])
def test_impossible_name_lists_the_known_names(text):
    message = refusal(UnknownNameError, ModelName.parse, text)
    assert "known: distilmbert, mbert" in message and "organisation/name" in message


# ── commands that read results ──

RUNS = {
    "hub": ModelRecord(
        id=HUB_IDS["distilmbert"], origin="hub", revision=COMMIT, sha256=SHA, n_parameters=1, architecture="distilbert"
    ),
    "embedded": ModelRecord(
        id="mini-mbert", origin="embedded", revision=None, sha256=SHA, n_parameters=1, architecture="bert"
    ),
    "local": ModelRecord(
        id="my-encoder", origin="local", revision=None, sha256=SHA, n_parameters=1, architecture="bert"
    ),
}
NAMES = [
    ("hub", HUB_IDS["distilmbert"]),
    ("hub", "distilmbert"),
    ("hub", f"distilmbert@{COMMIT}"),
    ("hub", f"distilmbert@{COMMIT[:7]}"),
    ("hub", f"{HUB_IDS['distilmbert']}@{COMMIT}"),
    ("embedded", "mini-mbert"),
    ("local", "my-encoder"),
    ("local", "./models/my-encoder"),
]


@pytest.fixture
def results(in_a_folder_of_its_own) -> Path:
    (in_a_folder_of_its_own / "models" / "my-encoder").mkdir(parents=True)
    for name, model in RUNS.items():
        save_record(in_a_folder_of_its_own / "results" / "cats" / name / "run", run_record(model=model))
    return in_a_folder_of_its_own / "results"


@pytest.mark.parametrize(("which", "name"), NAMES)
def test_report_accepts_any_name_of_a_model(command, results, which, name):
    code, out, err = command("report", "--model", name, "--format", "json")
    assert (code, err) == (0, "")
    assert [text for text in (model.id for model in RUNS.values()) if f'"model": "{text}"' in out] == [RUNS[which].id]


@pytest.mark.parametrize(("which", "name"), NAMES)
def test_comparison_accepts_any_name_of_a_model(command, results, which, name):
    other = "mini-mbert" if which != "embedded" else "distilmbert"
    _, _, err = command("compare", name, other)
    assert "unknown" not in err and "no runs" not in err


@pytest.mark.parametrize("name", ["mbert", "distilmbert@v9", "mini-mbert@v1", "my-encodr", "./nowhere"])
@pytest.mark.parametrize("words", [("report", "--model"), ("compare", "mini-mbert")])
def test_name_without_runs_lists_models_that_have_some(command, results, words, name):
    code, _, err = command(*words, name)
    assert code == 2 and err.count("\n") == 1
    assert "in results" in err and f"{name!r}" in err and HUB_IDS["distilmbert"] in err


# ── commands that load models ──


def test_a_model_named_twice_is_run_once(command, mini, checkpoint_of, in_a_folder_of_its_own):
    shutil.copytree(checkpoint_of("bert"), in_a_folder_of_its_own / "encoder")
    twice = ["--model", "encoder", "--model", "./encoder"]
    words = ["--data", mini.data, "--language", "en", "--max-steps", "1", "--device", "cpu"]
    code, out, err = command("run", mini.task_file, *twice, *words, "--format", "json")
    assert code == 0, err
    assert out.count('"schema_version"') == 1


def test_folder_after_the_equals_sign_may_have_one_too(in_a_folder_of_its_own):
    (in_a_folder_of_its_own / "lr=2e-5").mkdir()
    name = ModelName.parse("mbert=./lr=2e-5")
    assert (name.id, name.published_as) == ("lr=2e-5", HUB_IDS["mbert"])
