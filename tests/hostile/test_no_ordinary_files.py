"""Special files: pipes, devices, links and sparse files of gigabytes."""

import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_paths_and_bombs import is_one_line, memory

from tests.helpers import tiny
from tests.helpers.sample_record import run_record
from xeval.results.records import SelectionPoint
from xeval.results.store import save_record

SPARSE_BYTES = 6 * 10**9


@pytest.fixture
def results(tmp_path) -> Path:
    record = run_record()
    curve = [SelectionPoint(step=4, value=0.7)]
    training = record.training.model_copy(update={"selection_curve": curve})  # the gate refuses collapsed runs
    for seed in (3, 4):
        of_seed = record.model_copy(update={"training": training, "seed": seed})
        save_record(tmp_path / "results" / "cats" / "m" / f"run{seed}", of_seed)
    return tmp_path / "results"


def sparse(path: Path, start: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(SPARSE_BYTES)


# ── written ──

OUTPUTS: dict[str, list[str]] = {
    "report": ["report", "-o"],
    "report as HTML": ["report", "--format", "html", "-o"],
    "bless": ["bless", "-o"],
    "check as JSON": ["check", "--baseline", "baseline.toml", "--json"],
    "check as JUnit": ["check", "--baseline", "baseline.toml", "--junit"],
}


@pytest.fixture
def write(command, results) -> Callable[[str, Path], None]:
    def to(what: str, path: Path) -> None:
        if what.startswith("check"):
            assert command("bless", "--results", results, "-o", "baseline.toml").code == 0
        assert command(*OUTPUTS[what], path, "--results", results).code == 0

    return to


@pytest.mark.parametrize("what", OUTPUTS)
def test_output_device_is_not_replaced(write, tmp_path, what):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("only root makes devices")
    write(what, device)
    assert stat.S_ISCHR(device.stat().st_mode) and device.read_bytes() == b""


@pytest.mark.parametrize("what", OUTPUTS)
def test_output_pipe_is_written_and_not_replaced(write, tmp_path, what):
    write(what, tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(what, tmp_path / "pipe")
    reader.join()
    assert len(read[0]) == (tmp_path / "file").stat().st_size
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("what", OUTPUTS)
@pytest.mark.parametrize("is_there", [True, False])
def test_output_link_is_followed_and_not_replaced(write, tmp_path, what, is_there):
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    if is_there:
        target.write_text("old")
    link.symlink_to(target)
    write(what, link)
    assert link.is_symlink() and target.stat().st_size > 3


def test_circular_links_are_refused_in_one_line(command, results, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    is_one_line(command("report", "--results", results, "-o", tmp_path / "a"))
    run = min(path.parent for path in results.rglob("record.json"))
    for folder in (tmp_path / "a", tmp_path / "a" / "weights"):
        is_one_line(command("export", run, folder))
    for path in (tmp_path / "a", tmp_path / "a" / "x.tar"):
        is_one_line(command("bundle", "xnli-mini", "-o", path))
    assert sorted(tmp_path.glob("[ab]")) == [tmp_path / "a", tmp_path / "b"] and (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_output_files_respect_the_umask(command, results, tmp_path, mask):
    before = os.umask(mask)
    try:
        assert command("report", "--results", results, "-o", tmp_path / "report.md").code == 0
        save_record(tmp_path / "other" / "cats" / "m" / "run", run_record())
    finally:
        os.umask(before)
    for path in tmp_path / "report.md", *(tmp_path / "other").rglob("record.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


# ── read ──


@pytest.fixture
def little(command) -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < 10**9, "all of it was read"


KINDS = ["pipe", "device", "link to a device", "sparse"]


def replace(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "sparse":
        sparse(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
            path.open("rb").close()  # some systems let root make devices but not open them
        except PermissionError:
            pytest.skip("only root makes devices")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        pytest.param("model.safetensors", marks=pytest.mark.slow),  # half a minute for the sparse file
    ],
)
def test_special_files_in_a_model_are_refused(command, little, mini, checkpoint_of, tmp_path, name, kind):
    model = Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "model"))
    replace(model / name, kind)
    is_one_line(command("run", mini.task_file, "--model", model, "--data", mini.data, "--no-train", "--quiet"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["test-en.tsv", "test-en.jsonl"])
def test_special_data_files_are_refused(command, little, mini, checkpoint_of, tmp_path, name, kind):
    tiny.write_xtreme_layout(tmp_path / "data", tiny.mini_rows())
    (tmp_path / "data" / "test-en.tsv").unlink()
    replace(tmp_path / "data" / name, kind)
    words = ["--model", checkpoint_of("bert", tiny.LABELS), "--no-train", "--language", "en", "--quiet"]
    is_one_line(command("run", mini.task_file, "--data", tmp_path / "data", *words))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [["report"], ["list", "runs"], ["bless", "-o", "baseline.toml"], ["merge"]])
def test_special_record_files_are_refused(command, little, results, words, kind):
    replace(results / "cats" / "m" / "run3" / "record.json", kind)
    named = [results, "merged"] if words == ["merge"] else ["--results", results]
    answer = command(*words, *named)
    if words == ["merge"]:
        assert answer.code == 1 and "damaged" in answer.out
    else:
        is_one_line(answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [["check", "--baseline"], ["run", "--plan"], ["report", "--reference"]])
def test_special_files_as_arguments_are_refused(command, little, results, tmp_path, words, kind):
    replace(tmp_path / "file.toml", kind)
    is_one_line(command(*words, tmp_path / "file.toml", "--results", results))


@pytest.mark.parametrize("kind", KINDS)
def test_special_bundle_files_are_refused(command, little, tmp_path, kind):
    replace(tmp_path / "bundle.tar", kind)
    is_one_line(command("reproduce", "conneau-2020", "--bundle", tmp_path / "bundle.tar"))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_of_gigabytes_in_a_bundle_is_refused(command, little, tmp_path, kind):
    header = tarfile.TarInfo("SHA256SUMS")
    header.type, header.size = kind, SPARSE_BYTES - 2048
    sparse(tmp_path / "bundle.tar", header.tobuf(tarfile.GNU_FORMAT))
    is_one_line(command("reproduce", "conneau-2020", "--bundle", tmp_path / "bundle.tar"))


@pytest.mark.parametrize(
    "kind", ["link", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("pipe", "device", "folder"))]
)
def test_special_lock_file_overwrites_nothing(command, mini, checkpoint_of, tmp_path, kind):
    (tmp_path / "precious").write_text("precious")
    words = ["--model", checkpoint_of("bert", tiny.LABELS), "--data", mini.data, "--no-train", "--quiet"]
    assert command("run", mini.task_file, *words).code == 0
    [lock] = Path("results").glob("*/*/*/.lock")
    lock.unlink()
    if kind == "link":
        lock.symlink_to(tmp_path / "precious")
    elif kind == "folder":
        lock.mkdir()
    else:
        replace(lock, kind)
    answer = command("run", mini.task_file, *words)
    assert answer.code in (0, 2) and "Traceback" not in answer.err
    assert (tmp_path / "precious").read_text() == "precious"
