"""A record must belong to its folder and counts once; folders and records that can't be read are reported."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import xeval
from xeval.engine.snapshots import Snapshot, Snapshots
from xeval.results.store import load_run, load_runs
from xeval.support.errors import StoreError


@pytest.fixture(scope="module")
def two_seeds(mini, checkpoint_of, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("two") / "results"
    options = {"data": mini.data, "seeds": (1, 2), "overrides": {"epochs": 1.0}, "results": results}
    xeval.run(str(mini.task_file), str(checkpoint_of("bert")), **options)
    return results


@pytest.fixture
def results(two_seeds, tmp_path, monkeypatch) -> Path:
    copy = shutil.copytree(two_seeds, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return Path(copy)


def folders(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("*/*/*/record.json"))


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def refused(answer) -> str:
    assert answer.code == 2 and answer.err.startswith("xeval: ") and answer.err.count("\n") == 1
    return answer.err


def test_swapped_run_folders_are_detected(command, results, mini, checkpoint_of):
    exchange(*folders(results))
    assert "holds a different run than its name says" in refused(command("report", "--results", results))
    words = ["--data", mini.data, "--epochs", "1", "--seed", "1", "--results", results, "--quiet"]
    said = refused(command("run", mini.task_file, "--model", checkpoint_of("bert"), *words))
    assert "seed 2, whose identity is" in said


@pytest.mark.parametrize("what", ["record.json", "whole folder"])
def test_record_copied_over_another_is_detected(command, results, what):
    one, other = folders(results)
    if what == "record.json":
        shutil.copy(one / what, other / what)
    else:
        shutil.rmtree(other)
        shutil.copytree(one, other)
    assert "holds a different run than its name says" in refused(command("list", "runs", "--results", results))
    assert "damaged" in command("merge", results, "merged").out


@pytest.mark.parametrize("name", ["run.bak", "hf-2019-seed1 (copy)", "../other-model/run"])
@pytest.mark.parametrize(
    "words", [["report"], ["list", "runs"], ["compare", "MODEL", "MODEL"], ["diagnose"], ["bless"]]
)
def test_copied_runs_are_not_counted_twice(command, results, name, words):
    own = folders(results)[0]
    model = Path(load_run(own).record.model.id).name
    shutil.copytree(own, own.parent / name)
    named = [model if word == "MODEL" else word for word in words]
    answer = command(*named, "--results", results, *(["-o", "baseline.toml"] if words == ["bless"] else []))
    if words == ["list", "runs"]:  # it counts nothing
        assert answer.code == 0
    else:
        assert "is there twice" in refused(answer)


def test_renamed_runs_are_still_read(results):
    one, other = folders(results)
    one.rename(one.with_name("first"))
    assert sorted(run.record.seed for run in load_runs(results)) == [1, 2]
    assert load_run(other) is not None


@pytest.fixture
def as_nobody():
    """A folder that everybody can read, and a function that calls another as a user other than root."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)

        def act(what):
            own = os.geteuid()
            os.seteuid(own or 65534)
            try:
                return what()
            finally:
                os.seteuid(own)

        yield Path(folder), act


@pytest.mark.parametrize(
    ("what", "mode"), [(name, mode) for name in ("run", "model", "results") for mode in (0, 0o444)]
)
def test_unreadable_folders_are_reported(two_seeds, as_nobody, what, mode):
    home, act = as_nobody
    results = Path(shutil.copytree(two_seeds, home / "results"))
    run = folders(results)[0]
    place = {"run": run, "model": run.parent, "results": results}[what]
    assert len(act(lambda: load_runs(results))) == 2
    place.chmod(mode)
    with pytest.raises(StoreError, match="cannot be read: Permission denied"):
        act(lambda: load_runs(results))


def test_unreadable_records_are_reported(two_seeds, as_nobody):
    home, act = as_nobody
    results = Path(shutil.copytree(two_seeds, home / "results"))
    (folders(results)[0] / "record.json").chmod(0)
    with pytest.raises(StoreError, match="cannot be read: Permission denied"):
        act(lambda: load_runs(results))


def test_snapshot_of_another_version_is_not_resumed(tmp_path):
    said: list[str] = []
    checkpoints = Snapshots(tmp_path / "run", said.append)
    assert checkpoints.save(Snapshot(3, {}, {"curve": [1]}))
    assert checkpoints.newest() == Snapshot(3, {}, {"curve": [1]})
    values = tmp_path / "run" / "step-000000003" / "values.json"
    values.write_text(json.dumps(json.loads(values.read_text()) | {"computed_by": "0" * 64}))
    names = ("tensors.safetensors", "values.json")
    sums = [f"{hashlib.sha256((values.parent / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (values.parent / "SHA256SUMS").write_text("".join(sums))
    assert checkpoints.newest() is None
    assert "from another version of xeval" in said[0]
