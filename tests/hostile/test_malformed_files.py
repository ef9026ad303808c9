"""A malformed file is refused within a second, with exit code 2 and one line that names the file and the place."""

import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from malformed import FILES, VALID, Broken

from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.task import Task
from xeval.definitions.toml import read_definition
from xeval.judging.gate.baseline import Baseline
from xeval.results.store import load_record
from xeval.support.errors import DefinitionError, StoreError

NOUNS = {"task": Task, "recipe": Recipe, "reference": Reference, "baseline": Baseline}


def words_that_read(kind: str, folder: Path) -> tuple[Path, list]:
    """The path for a file of this kind, and a command that reads it."""
    path = folder / "broken.toml"
    return {
        "task": (path, ["list", "tasks", "--tasks-dir", folder]),
        "recipe": (path, ["run", "xnli", "--model", "mbert", "--recipe", path]),
        "reference": (path, ["reproduce", path]),
        "baseline": (path, ["check", "--baseline", path, "--results", folder]),
        "record": (folder / "task/model/run/record.json", ["list", "runs", "--results", folder]),
    }[kind]


def is_refused(answer, path: Path, place: str = "") -> None:
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("xeval: ") and answer.err.count("\n") == 1
    assert answer.err.rstrip("\n").isprintable() and len(answer.err) < 1000
    assert str(path) in answer.err and place in answer.err
    assert answer.processor_s < 1


def test_malformed_files_are_many_and_distinct(figure):
    names = [str(broken) for broken in FILES]
    assert len(set(names)) == len(names)
    assert len({(broken.kind, broken.content) for broken in FILES}) >= 150
    by_kind = Counter(broken.kind for broken in FILES)
    figure("malformed files", ", ".join(f"{number} of a {kind}" for kind, number in by_kind.items()))


@pytest.mark.parametrize("kind", VALID)
def test_files_are_valid_before_they_are_broken(kind, tmp_path):
    (tmp_path / "whole.toml").write_text(VALID[kind])
    read_definition(tmp_path / "whole.toml", NOUNS[kind])


@pytest.mark.parametrize("broken", FILES, ids=str)
def test_error_names_malformed_file_and_place(command, tmp_path, broken: Broken):
    path, words = words_that_read(broken.kind, tmp_path / "files")
    path.parent.mkdir(parents=True)
    path.write_bytes(sealed(broken.content) if broken.kind == "record" else broken.content)
    is_refused(command(*words), path, broken.place)


def sealed(record: bytes) -> bytes:
    """The record with the right checksum after its opening brace; unchanged if it has none."""
    if not record.startswith(b"{"):
        return record
    plain = b"{\n" + record[1:].lstrip(b"\n")
    line = b' "content_sha256": "%s",\n' % hashlib.sha256(plain).hexdigest().encode()
    return b"{\n" + line + plain[2:]


@pytest.mark.parametrize("what", ["deep lists", "binary", "a pipe", "deep keys"])
def test_malformed_files_are_refused_from_a_shell(tmp_path, what):
    """In a separate process, where nothing catches errors."""
    path = tmp_path / "broken.toml"
    if what == "a pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(next(broken.content for broken in FILES if broken.what == what))
    command = [Path(sys.executable).with_name("xeval"), "list", "tasks", "--tasks-dir", tmp_path]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout, process.stderr.count("\n")) == (2, "", 1)
    assert str(path) in process.stderr and "Traceback" not in process.stderr


_SPECIAL = [
    (kind, what)
    for kind in ("task", "recipe", "reference", "baseline", "record")
    for what in ("a pipe", "a folder", "a device", "a link to itself", "a terabyte")
    if (kind, what) != ("record", "a link to itself")  # a broken link, so the folder has no record and isn't a run
]


@pytest.mark.parametrize(("kind", "what"), _SPECIAL)
def test_special_and_huge_files_are_refused(command, tmp_path, kind, what):
    path, words = words_that_read(kind, tmp_path / "files")
    path.parent.mkdir(parents=True)
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "a link to itself":
        path.symlink_to(path)
    else:
        with path.open("wb") as file:
            file.truncate(10**12)
    is_refused(command(*words), path)


# ── any content is read, or refused in one line ──

somewhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def within_a_second() -> Iterator[None]:
    """Fail if the block takes longer than a second of processor time."""
    started_s = time.process_time()
    try:
        yield
    finally:
        assert time.process_time() - started_s < 1


@pytest.mark.parametrize("kind", VALID)
@somewhere
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(content=b"\xef\xbb\xbf")
def test_random_bytes_are_refused_in_one_line(tmp_path, kind, content):
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    with within_a_second(), pytest.raises(DefinitionError) as refused:
        read_definition(path, NOUNS[kind])
    assert str(refused.value).isprintable() and str(path) in str(refused.value)


@pytest.mark.parametrize("kind", VALID)
@somewhere
@given(data=st.data())
def test_corrupted_definitions_are_read_or_refused(tmp_path, kind, data):
    content = bytearray(VALID[kind].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "changed.toml"
    path.write_bytes(content)
    try:
        with within_a_second():
            read_definition(path, NOUNS[kind])
    except DefinitionError as error:
        assert str(error).isprintable() and str(path) in str(error)


@somewhere
@given(
    content=st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(repr).map(str.encode)
)
def test_random_bytes_are_refused_as_a_record(tmp_path, content):
    (tmp_path / "record.json").write_bytes(content)
    with within_a_second(), pytest.raises(StoreError) as refused:
        load_record(tmp_path)
    assert str(refused.value).isprintable() and str(tmp_path / "record.json") in str(refused.value)
