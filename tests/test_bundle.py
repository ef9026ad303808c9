"""A bundle: made where the hub can be reached (a stand-in for it on loopback), used where it cannot."""

import hashlib
import re
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import pytest

import xeval.data.bundle
from tests.helpers import tiny
from tests.helpers.stand_in_hub import serve
from xeval.data.model_files import missing_model_bytes
from xeval.definitions.model_name import ModelName
from xeval.results.store import load_runs

MODEL, DATA = "distilbert/distilbert-base-multilingual-cased", "some/pairs"
COMMIT = "a" * 40  # of the data
TABLE = f"""\
name = "mini-table"
title = "Mini table"
task = "mini-pairs"
split = "test"
source_url = "https://example.org/mini-table"
languages = ["en", "es"]

[[rows]]
name = "DistilmBERT"
model = "{MODEL}"
how = "computed"
recipe = "hf-2019"
cells = {{ en = 40.0, es = 40.0 }}
"""
ON_CPU = ("--device", "cpu", "--dtype", "float32", "--quiet")


class Made(NamedTuple):
    """A bundle, and the paths of the hub's files and the definitions that it was made from."""

    path: Path
    root: Path
    tasks: Path
    table: Path


@pytest.fixture(scope="module")
def connected(tmp_path_factory):
    """`with connected(root):` this process talks to a stand-in for the hub, with an empty cache."""

    @contextmanager
    def connect(root: Path):
        constants, folder = "huggingface_hub.constants.", tmp_path_factory.mktemp("hub-cache")
        with pytest.MonkeyPatch.context() as patch, serve(root, commits={f"datasets/{DATA}": COMMIT}) as hub:
            patch.setattr(constants + "ENDPOINT", hub.url)
            patch.setattr(
                constants + "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
            )
            patch.setattr(constants + "HF_HUB_CACHE", str(folder))
            yield hub
            huggingface_hub.close_session()

    return connect


@pytest.fixture(scope="module")
def definitions(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with the task, and the table's file."""
    folder = tmp_path_factory.mktemp("definitions")
    place = f'\n[hub]\nid = "{DATA}"\nrevision = "{COMMIT}"\n\n[label_aliases]'
    tiny.write_task(folder / "tasks", ("\n[label_aliases]", place))
    (folder / "table.toml").write_text(TABLE, encoding="utf-8")
    return folder / "tasks", folder / "table.toml"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    tiny.write_hub_layout(root / "datasets" / DATA, tiny.mini_rows())
    tiny.make_checkpoint(root / "models" / MODEL, "distilbert")
    (root / "models" / MODEL / "pytorch_model.bin").write_bytes(b"a pickle that runs code")
    return root


@pytest.fixture(scope="module")
def made(connected, root, definitions, tmp_path_factory) -> Made:
    from xeval.runs.make_bundle import make_bundle

    tasks, table = definitions
    path = tmp_path_factory.mktemp("bundle") / "bundle.tar"
    with connected(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_TASKS", str(tasks))
        make_bundle(str(table), path)
    return Made(path, root, tasks, table)


# ── made and used ──


def test_bundle_command_prints_the_contents_and_next_step(command, connected, made, tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_TASKS", str(made.tasks))
    with connected(made.root) as hub:
        code, out, _ = command("bundle", made.table, "--output", tmp_path / "again.tar", "--quiet")
        model_commit = hub.commit(f"models/{MODEL}")
    assert code == 0
    assert out.splitlines()[:2] == [f"dataset  {COMMIT}  {DATA}", f"model    {model_commit}  {MODEL}"]
    assert f"xeval reproduce mini-table --bundle {tmp_path / 'again.tar'}" in out
    assert (tmp_path / "again.tar").read_bytes() == made.path.read_bytes(), "the same files should give the same bytes"


def test_bundle_holds_exactly_what_the_runs_read(made):
    model, data = f"models/{MODEL.replace('/', '--')}", f"datasets/{DATA.replace('/', '--')}"
    with tarfile.open(made.path, "r:") as tar:
        assert sorted(tar.getnames()) == sorted(
            [
                "SHA256SUMS",
                "bundle.json",
                "recipes/hf-2019.toml",
                "references/mini-table.toml",
                "tasks/mini-pairs.toml",
                *(f"{model}/{name}" for name in ("config.json", "model.safetensors")),
                *(f"{model}/{name}" for name in ("tokenizer.json", "tokenizer_config.json")),
                *(f"{data}/en/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")),
                f"{data}/es/test-00000-of-00001.parquet",
            ]
        )
        for line in tar.extractfile("SHA256SUMS").read().decode().splitlines():
            checksum, name = line.split("  ")
            assert hashlib.sha256(tar.extractfile(name).read()).hexdigest() == checksum


def test_dry_run_prints_the_size_and_downloads_nothing(command, connected, made, tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_TASKS", str(made.tasks))
    with connected(made.root) as hub:
        code, out, err = command("reproduce", made.table, "--dry-run", "--results", tmp_path / "none", *ON_CPU)
        assert (code, err) == (0, "")
        assert hub.files(f"models/{MODEL}") == hub.files(f"datasets/{DATA}") == []
        n_bytes = missing_model_bytes(ModelName.parse(MODEL))
        assert n_bytes == sum(
            path.stat().st_size for path in (made.root / "models" / MODEL).iterdir() if path.suffix != ".bin"
        )
    assert re.search(r"^Downloads: [0-9.]+ MB\.", out, re.MULTILINE)
    assert not (tmp_path / "none").exists()
    with connected(made.root) as hub:
        out = command("reproduce", "mini-table", "--dry-run", "--bundle", made.path, *ON_CPU)[1]
        assert ("Downloads" in out, hub.requests) == (False, [])


def test_bundle_and_hub_give_the_same_run(command, connected, made, tmp_path, monkeypatch):
    with connected(made.root) as hub:
        code, out, err = command(
            *("reproduce", "mini-table", "--seed", "1", "--bundle", made.path),
            *("--results", tmp_path / "from-bundle", *ON_CPU),
        )
        assert code in (0, 1), err  # random weights may or may not be shown to miss the table
        assert "DistilmBERT" in out  # the row of the table that came with the bundle
        assert hub.requests == []
        monkeypatch.setenv("XEVAL_TASKS", str(made.tasks))
        words = ("--seed", "1", "--results", tmp_path / "from-hub", *ON_CPU)
        assert command("reproduce", made.table, *words)[0] == code
        assert hub.requests != []
    [ours], [hubs] = ([run.record for run in load_runs(tmp_path / name)] for name in ("from-bundle", "from-hub"))
    assert (ours.identity, ours.model, ours.scores) == (hubs.identity, hubs.model, hubs.scores)
    assert (ours.data, ours.training.weights_sha256) == (hubs.data, hubs.training.weights_sha256)
    assert (ours.status, ours.model.origin, ours.data.source, ours.data.revision) == ("complete", "hub", DATA, COMMIT)


def test_doctor_reads_the_bundle(command, connected, made):
    with connected(made.root) as hub:
        words = ("doctor", "mini-pairs", "--model", MODEL, "--language", "en,es", "--device", "cpu")
        code, out, err = command(*words, "--bundle", made.path)
        assert (code, err) == (0, ""), out
        assert "data: ✓ rows: 24 of 24 pairs to train on" in out and f"{MODEL}: " in out
        assert hub.requests == []


def test_what_a_bundle_lacks_is_named_and_not_fetched(command, connected, made, tmp_path):
    with connected(made.root) as hub:
        for words, message in (
            (("--model", "mbert"), f"no model google-bert/bert-base-multilingual-cased in this bundle; it has {MODEL}"),
            (("--model", f"{MODEL}@{'f' * 40}"), f"wanted model {MODEL}@{'f' * 40}, it has "),
            (("--model", "distilmbert", "--language", "zh"), "no zh/test-*.parquet"),
        ):
            found = command("run", "mini-pairs", *words, "--bundle", made.path, "--results", tmp_path, *ON_CPU)
            assert found[:2] == (2, "") and message in found[2] and found[2].count("\n") == 1
        assert hub.requests == []


def test_bundled_definitions_are_known_only_while_in_use(made):
    from xeval.definitions.registry import all_tasks, get_reference

    with xeval.data.bundle.using(made.path):
        assert "mini-pairs" in all_tasks()
        assert get_reference("mini-table").task == "mini-pairs"
    assert "mini-pairs" not in all_tasks()
    assert xeval.data.bundle.in_use() is None


def test_using_no_bundle_keeps_the_one_in_use(made):
    with xeval.data.bundle.using(made.path):
        with xeval.data.bundle.using(None):
            assert xeval.data.bundle.in_use().path == made.path
        assert xeval.data.bundle.in_use().path == made.path
    with xeval.data.bundle.using(None):
        assert xeval.data.bundle.in_use() is None


def test_new_threads_and_processes_see_the_bundle(made):
    code = "from xeval.data import bundle; from xeval.definitions.registry import get_reference; "
    code += "print(bundle.in_use().folder, get_reference('mini-table').task)"
    with xeval.data.bundle.using(made.path), ThreadPoolExecutor() as threads:
        here = xeval.data.bundle.in_use()
        assert threads.submit(xeval.data.bundle.in_use).result() == here
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == f"{here.folder} mini-pairs\n"


def test_bundle_is_unpacked_again_only_if_damaged(made):
    with xeval.data.bundle.using(made.path):
        weights = next(xeval.data.bundle.in_use().folder.rglob("model.safetensors"))
    before = weights.stat().st_ino
    with xeval.data.bundle.using(made.path):
        assert weights.stat().st_ino == before
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with xeval.data.bundle.using(made.path):
        content[-1] ^= 1
        assert weights.read_bytes() == content


def test_plan_of_a_bundled_task_finds_its_names(command, connected, made, tmp_path):
    plan = tmp_path / "plan.json"
    words = ("--seed", "1", "--language", "es", "--bundle", made.path, "--results", tmp_path / "results", *ON_CPU)
    with connected(made.root) as hub:
        code, _, err = command("plan", "mini-pairs", "--model", MODEL, *words, "--output", plan)
        assert code == 0, err
        for _ in ("made", "finished"):
            code, out, err = command("run", "--plan", plan, "--quiet")
            assert (code, "es" in out) == (0, True), err
        assert hub.requests == []


def test_plan_of_a_bundled_table_compares_with_it(command, connected, made, tmp_path):
    from xeval.runs.plan import plan_table, write_plan

    options = {"results": tmp_path / "results", "device": "cpu", "dtype": "float32", "seeds": [1]}
    with connected(made.root):
        write_plan(plan_table("mini-table", bundle=made.path, **options), tmp_path / "plan.json")
        code, out, err = command("run", "--plan", tmp_path / "plan.json", "--quiet")
    assert (code, "DistilmBERT" in out) == (0, True), err


def test_bundle_lacks_models_of_rows_that_are_not_run(connected, made, tmp_path, monkeypatch):
    from xeval.runs.make_bundle import make_bundle

    row = '\n[[rows]]\nname = "Other"\nmodel = "some/other"\nhow = "computed"\nprotocol = "translate-train"\n'
    (tmp_path / "table.toml").write_text(f"{TABLE}{row}cells = {{ en = 40.0, es = 40.0 }}\n", encoding="utf-8")
    monkeypatch.setenv("XEVAL_TASKS", str(made.tasks))
    with connected(made.root) as hub:
        contents = make_bundle(str(tmp_path / "table.toml"), tmp_path / "bundle.tar")
        assert not any("some/other" in request for request in map(str, hub.requests))
    assert [repository.id for repository in contents.repositories] == [DATA, MODEL]
