"""The default path: data and models come from the hub, here a stand-in on loopback."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import are_progress_bars_disabled

import xeval
from tests.helpers import stand_in_hub, tiny
from tests.helpers.stand_in_hub import Answer, serve
from xeval.data.hub import fetch, show_bars
from xeval.data.model_files import find_checkpoint, find_pickled
from xeval.data.source import load_rows, missing_data_bytes, open_source
from xeval.definitions.registry import get_task
from xeval.definitions.task import Hub as HubPlace
from xeval.results.records import RunRecord
from xeval.results.store import load_runs
from xeval.support.errors import DataError, ModelError, XevalError

XNLI = "datasets/facebook/xnli"
DISTILMBERT = "models/distilbert/distilbert-base-multilingual-cased"
MBERT = "models/google-bert/bert-base-multilingual-cased"
COMMITS = {XNLI: "b8dd5d7af51114dbda02c0e3f6133f332186418e"}  # what tasks/xnli.toml pins

# What a user writes; the limits and the single epoch are there to save time.
OPTIONS = {
    "languages": ["en", "es"],
    "max_train": 64,
    "max_eval": 30,
    "overrides": {"epochs": 1},
    "device": "cpu",
    "dtype": "float32",
}
MODELS = ["distilmbert", "mbert"]
RUN = f"import sys, xeval; xeval.run('xnli', {MODELS}, results=sys.argv[1], **{OPTIONS})"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """XNLI with all evaluation rows in two languages, and tiny models under the ids that the aliases stand for."""
    root = tmp_path_factory.mktemp("hub")
    rows = {(role, code): tiny.make_rows(code, 96) for role in ("train", "selection") for code in tiny.LANGUAGES}
    rows |= {("selection", "en"): tiny.make_rows("en", 2490)}
    rows |= {("test", code): tiny.make_rows(code, 5010, start=1000) for code in ("en", "es")}
    rows |= {("test", "zh"): tiny.make_rows("zh", 96)}
    tiny.write_hub_layout(root / XNLI, rows)
    for repository, architecture in ((DISTILMBERT, "distilbert"), (MBERT, "bert")):
        tiny.make_checkpoint(root / repository, architecture)
        (root / repository / "pytorch_model.bin").write_bytes(b"a pickle that runs code")
        (root / repository / "README.md").write_text("# a card", encoding="utf-8")
    return root


@pytest.fixture
def connect(monkeypatch):
    """`connect(hub)` makes the libraries in this process talk to `hub`, without pauses between retries."""
    yield partial(stand_in_hub.connect, monkeypatch=monkeypatch)
    huggingface_hub.close_session()


def run_in_a_process_of_its_own(results: Path, home: Path, endpoint: str, **variables: str) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "huggingface"),
        "XEVAL_CACHE": str(home / "xeval"),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    subprocess.run([sys.executable, "-W", "error", "-c", RUN, str(results)], env=environment, check=True, timeout=120)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_unwanted_bars_are_hidden_during_fetches_only(root, connect, monkeypatch, is_wanted):
    were_hidden = list[bool]()
    download = huggingface_hub.snapshot_download

    def watched(*arguments, **options) -> str:
        were_hidden.append(are_progress_bars_disabled())
        return download(*arguments, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", watched)
    with serve(root) as hub:
        connect(hub)
        show_bars(is_wanted)
        fetch("model", DISTILMBERT.removeprefix("models/"), None, ["config.json"])
    assert (were_hidden, are_progress_bars_disabled()) == ([not is_wanted], False)


# ── a run from the hub, on a fresh machine ──


class FirstRun:
    """What was requested and recorded when `RUN` ran on a fresh machine."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.home, self.results = folder / "home", folder / "results"
        with serve(root, commits=COMMITS) as self.hub:
            run_in_a_process_of_its_own(self.results, self.home, self.hub.url)
        self.records = [run.record for run in load_runs(self.results)]


@pytest.fixture(scope="module")
def first_run(root, tmp_path_factory) -> FirstRun:
    return FirstRun(root, tmp_path_factory.mktemp("first-run"))


def test_default_ids_give_a_finished_record_per_model(first_run):
    assert [(record.model.id, record.status, sorted(record.scores)) for record in first_run.records] == [
        ("distilbert/distilbert-base-multilingual-cased", "complete", ["en", "es"]),
        ("google-bert/bert-base-multilingual-cased", "complete", ["en", "es"]),
    ]


def test_record_names_commits_of_data_and_model(first_run):
    assert {record.data.revision for record in first_run.records} == {COMMITS[XNLI]}
    assert {record.data.source for record in first_run.records} == {"facebook/xnli"}
    commits = [first_run.hub.commit(repository) for repository in (DISTILMBERT, MBERT)]
    assert [record.model.revision for record in first_run.records] == commits


def test_only_test_rows_of_target_languages_are_fetched(first_run):
    assert sorted(first_run.hub.files(XNLI)) == [
        "en/test-00000-of-00001.parquet",
        "en/train-00000-of-00001.parquet",
        "en/validation-00000-of-00001.parquet",
        "es/test-00000-of-00001.parquet",
    ]


@pytest.mark.parametrize("repository", [DISTILMBERT, MBERT])
def test_only_needed_and_safe_model_files_are_fetched(first_run, repository):
    assert sorted(first_run.hub.files(repository)) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_limits_are_applied_and_recorded(first_run):
    for record in first_run.records:
        assert (record.limits.max_train, record.limits.max_eval) == (64, 30)
        assert record.data.train_rows == {"found": 96, "expected": 392702, "used": 64}
        assert [score.n_rows for score in record.scores.values()] == [30, 30]


def _scores(record: RunRecord) -> dict:
    """The scores, without the invocation that made them."""
    return {language: score.model_dump(exclude={"invocation"}) for language, score in record.scores.items()}


def test_second_run_works_offline_with_equal_scores(first_run, tmp_path, monkeypatch):
    """In this process, where huggingface_hub has already read HF_HUB_OFFLINE, and with an empty xeval cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(first_run.home / "huggingface" / "hub"))
    xeval.run("xnli", MODELS, results=tmp_path / "results", **OPTIONS)
    hold_to_first_run(tmp_path / "results", first_run)


@pytest.mark.slow
def test_second_run_needs_only_hf_hub_offline(first_run, tmp_path):
    variables = {"HF_HUB_OFFLINE": "1", "XEVAL_CACHE": str(tmp_path / "cold-xeval-cache")}
    run_in_a_process_of_its_own(tmp_path / "results", first_run.home, first_run.hub.url, **variables)
    hold_to_first_run(tmp_path / "results", first_run)


def hold_to_first_run(results: Path, first_run: FirstRun) -> None:
    again = [run.record for run in load_runs(results)]
    assert [record.identity for record in again] == [record.identity for record in first_run.records]
    assert [_scores(record) for record in again] == [_scores(record) for record in first_run.records]


def run_again(first_run: FirstRun, results: Path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(first_run.home / "huggingface" / "hub"))
    run_small(results)


def run_small(results: Path) -> None:
    options = {
        "max_train": 32,
        "max_eval": 9,
        "overrides": {"epochs": 1},
        "device": "cpu",
        "dtype": "float32",
    }
    [record] = xeval.run("xnli", ["distilmbert"], languages=["en", "es"], results=results, **options)
    assert record.status == "complete"


def test_a_second_run_downloads_no_file(first_run, root, connect, tmp_path, monkeypatch):
    with serve(root, commits=COMMITS) as hub:
        connect(hub)
        run_again(first_run, tmp_path, monkeypatch)
    assert hub.requests and hub.files(XNLI) == hub.files(DISTILMBERT) == []


def test_second_run_works_with_the_hub_unreachable(first_run, connect, tmp_path, monkeypatch):
    connect(first_run.hub)  # no longer served
    run_again(first_run, tmp_path, monkeypatch)


def test_second_run_works_during_a_hub_outage(first_run, root, connect, tmp_path, monkeypatch):
    with serve(root, commits=COMMITS, fail_after=0) as hub:
        connect(hub)
        run_again(first_run, tmp_path, monkeypatch)
    assert hub.requests, "the run should have asked for the model's latest commit"


# ── outages ──


@pytest.mark.parametrize("n_requests", [0, 1, 2, 4, 8, 9, 10, 11, 14, 18])
def test_run_after_an_outage_fetches_only_the_rest(root, connect, tmp_path, n_requests):
    with serve(root, commits=COMMITS, fail_after=n_requests) as hub:
        connect(hub)
        with pytest.raises(XevalError) as caught:
            run_small(tmp_path)
    assert_one_line(caught.value, "run the command again", "the hub cannot be reached")
    with serve(root, commits=COMMITS) as healthy_hub:
        connect(healthy_hub)
        run_small(tmp_path)
    for repository, n_files in ((XNLI, 4), (DISTILMBERT, 4)):
        arrived, fetched_later = hub.files(repository), healthy_hub.files(repository)
        assert len(arrived) + len(fetched_later) == n_files
        assert not set(arrived) & set(fetched_later)


def assert_one_line(error: XevalError, *one_of: str) -> None:
    assert "\n" not in str(error)
    assert any(part in str(error) for part in one_of), str(error)


# ── what the hub refuses ──


@pytest.mark.parametrize(("kind", "error_type"), [("model", ModelError), ("dataset", DataError)])
@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("nobody/nothing", None, "the hub has no such {kind}, or HF_TOKEN cannot see it; check the id"),
        ("some/thing", "f" * 40, "the hub has no such revision; give a commit, tag or branch of it"),
        ("some/thing", "v2.0", "the hub has no such revision; give a commit, tag or branch of it"),
        ("gated/thing", None, "access is gated; accept its terms on the hub and set HF_TOKEN"),
    ],
    ids=["unknown repository", "unknown commit", "unknown tag", "gated"],
)
def test_hub_refusals_are_reported_in_one_line(tmp_path, connect, kind, error_type, name, revision, message):
    for repository in ("some/thing", "gated/thing"):
        folder = tmp_path / f"{kind}s" / repository
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
    with serve(tmp_path, gated={f"{kind}s/gated/thing"}) as hub:
        connect(hub)
        with pytest.raises(error_type) as caught:
            fetch(kind, name, revision, ["config.json"])
    wanted = f"{kind} {name}" + (f"@{revision}" if revision else "")
    assert str(caught.value) == f"{wanted}: " + message.format(kind=kind)


@pytest.mark.parametrize("name", ["no/such/thing", "--/--", "a b/c"])
def test_malformed_ids_are_refused_in_one_line(connect, tmp_path, name):
    with serve(tmp_path) as hub:
        connect(hub)
        with pytest.raises(ModelError) as caught:
            fetch("model", name, None, ["config.json"])
    assert_one_line(caught.value, name)
    assert hub.requests == []


def test_a_model_is_fetched_at_the_revision_asked_for(root, connect):
    with serve(root) as hub:
        connect(hub)
        commit = hub.commit(MBERT)
        folder, fetched = fetch("model", MBERT.removeprefix("models/"), commit, ["config.json"])
    assert fetched == commit
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "bert"


def test_only_indexed_files_of_subfolders_are_fetched(root, connect, tmp_path):
    name = "organisation/in-parts"
    folder = Path(shutil.copytree(root / DISTILMBERT, tmp_path / "models" / name))
    for sub_folder in ("onnx", "parts"):
        (folder / sub_folder).mkdir()
        shutil.copy(folder / "model.safetensors", folder / sub_folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"distilbert.embeddings.LayerNorm.weight": "parts/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with serve(tmp_path) as hub:
        connect(hub)
        checkpoint = find_checkpoint(name)
    assert [file for file in hub.files(f"models/{name}") if "/" in file] == ["parts/model.safetensors"]
    assert checkpoint.sha256 == find_checkpoint(str(folder)).sha256


def test_adapter_error_names_its_base_model(connect, tmp_path):
    folder = tmp_path / "models" / "organisation" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "some/base"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with serve(tmp_path) as hub:
        connect(hub)
        with pytest.raises(
            ModelError,
            match="model organisation/adapter: PEFT adapter of some/base, its base: model some/base: the hub has no",
        ):
            find_checkpoint("organisation/adapter")


def test_model_with_only_pickled_weights_is_refused(root, connect, tmp_path):
    folder = Path(shutil.copytree(root / DISTILMBERT, tmp_path / "models" / "organisation" / "pickled"))
    (folder / "model.safetensors").unlink()
    with serve(tmp_path) as hub:
        connect(hub)
        with pytest.raises(ModelError, match=r"no \*\.safetensors weights on the hub .* pickled ones are not fetched"):
            find_checkpoint("organisation/pickled")


def test_pickled_weights_are_fetched_only_to_convert(root, connect, tmp_path):
    repository = "models/organisation/pickled"
    folder = Path(shutil.copytree(root / DISTILMBERT, tmp_path / repository))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with serve(tmp_path) as hub:
        connect(hub)
        with pytest.raises(ModelError, match="and give the folder: xeval convert organisation/pickled DIR"):
            find_checkpoint("organisation/pickled")
        assert "pytorch_model.bin" not in hub.files(repository)
        found = find_pickled("organisation/pickled")
        assert "pytorch_model.bin" in hub.files(repository)
    assert [path.name for path in found.pickles] == ["pytorch_model.bin"]


def test_pickles_next_to_safetensors_are_not_fetched(root, connect, tmp_path):
    repository = "models/organisation/both"
    folder = Path(shutil.copytree(root / DISTILMBERT, tmp_path / repository))
    shutil.copyfile(folder / "model.safetensors", folder / "pytorch_model.bin")
    with serve(tmp_path) as hub:
        connect(hub)
        assert find_pickled("organisation/both").pickles == []
        assert "pytorch_model.bin" not in hub.files(repository)


def test_data_set_without_the_language_is_named(root, connect, tmp_path):
    task = get_task("xnli")
    with serve(root, commits=COMMITS) as hub:
        connect(hub)
        with pytest.raises(DataError) as caught:
            xeval.run("xnli", ["distilmbert"], languages=["sw"], results=tmp_path)
    assert_one_line(caught.value, f"no {task.configuration('sw')}/test-*.parquet")


def test_renamed_configuration_is_fetched_by_its_name(root, connect, mini):
    place = HubPlace(id="facebook/xnli", revision=COMMITS[XNLI], configurations={"en": "es"})
    with serve(root, commits=COMMITS) as hub:
        connect(hub)
        source = open_source(mini.task.model_copy(update={"hub": place}), None, ["zh"])
    assert {file.partition("/")[0] for file in hub.files(XNLI)} == {"es", "zh"}
    assert (source.name, source.revision) == ("facebook/xnli", COMMITS[XNLI])


def test_task_without_hub_data_asks_for_a_local_copy(mini):
    with pytest.raises(DataError, match=r"mini-pairs names no hub data set; pass --data DIR"):
        open_source(mini.task, None, ["en"])


def test_mirrors_own_commit_is_read_and_recorded(root, connect):
    with serve(root, commits={XNLI: "d" * 40}, any_revision=True) as hub:
        connect(hub)
        source = open_source(get_task("xnli"), None, ["es"])
    assert source.revision == "d" * 40
    assert len(load_rows(source, "es", "test")) == 5010


def test_conversion_on_the_hub_is_fetched_and_checked(root, connect, tmp_path, mini):
    """A data set whose files are `es/test/0000.parquet`, as in the hub's own conversions (refs/convert/parquet)."""
    name = "organisation/converted"
    file = tmp_path / f"datasets/{name}/es/test/0000.parquet"
    file.parent.mkdir(parents=True)
    shutil.copyfile(root / XNLI / "es/test-00000-of-00001.parquet", file)
    place = HubPlace(id=name, revision="e" * 40)
    task = get_task("xnli").model_copy(update={"hub": place})
    with serve(tmp_path, commits={f"datasets/{name}": place.revision}) as hub:
        connect(hub)
        source = open_source(task, None, ["es"], training=False)
        assert len(load_rows(source, "es", "test")) == 5010
        assert missing_data_bytes(task, ["es"], training=False) == 0
        cached = (source.folder / "es/test/0000.parquet").resolve()
        cached.write_bytes(cached.read_bytes()[:-1] + b"?")
        with pytest.raises(DataError, match="damaged"):
            open_source(task, None, ["es"], training=False)


ADVICE = {
    401: "it does not accept your token: log in again with hf auth login, or correct or unset HF_TOKEN",
    403: "check that your token may read it",
    404: "check the id and HF_ENDPOINT",
    429: "it got too many requests: run the command again in a few minutes",
    503: "complete files are kept, so run the command again later",
}


@pytest.mark.parametrize("closed", ["/api/", "/resolve/"], ids=["listing", "files"])
@pytest.mark.parametrize("status", ADVICE)
def test_each_refusal_comes_with_its_own_advice(root, connect, status, closed):
    with serve(root) as hub:
        connect(hub)
        honest, refusal = hub.answer, {"X-Error-Message": "Invalid credentials in Authorization header"}
        hub.answer = lambda path: Answer(status, b"", refusal) if closed in path else honest(path)
        with pytest.raises(ModelError) as caught:
            fetch("model", MBERT.removeprefix("models/"), None, ["config.json"])
    assert_one_line(caught.value, f"the hub answers with an error ({status}); {ADVICE[status]}")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nowhere"), ("ALL_PROXY", "gopher://nowhere")])
def test_variables_that_allow_no_connection_are_named(tmp_path, name, value):
    words = ["run", "xnli-mini", "--model", "organisation/name", "--results", str(tmp_path)]
    environment = {**os.environ, name: value, "HF_HOME": str(tmp_path / "hf"), "XEVAL_CACHE": str(tmp_path / "xeval")}
    done = subprocess.run(
        [sys.executable, "-m", "xeval", *words], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "model organisation/name: " in done.stderr and name in done.stderr


def test_read_only_hub_cache_is_named(root, connect, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with serve(root) as hub:
        connect(hub)
        with pytest.raises(
            ModelError, match=r"cannot be stored in the hub's cache: .*file/hub'; .* set HF_HOME to another"
        ):
            fetch("model", MBERT.removeprefix("models/"), None, ["config.json"])


def test_unreadable_token_file_is_named(root, connect, tmp_path, monkeypatch):
    (tmp_path / "token").write_bytes(b"\xff")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve(root) as hub:
        connect(hub)
        with pytest.raises(ModelError, match="the token cannot be read: set HF_TOKEN_PATH to another file"):
            fetch("model", MBERT.removeprefix("models/"), None, ["config.json"])
