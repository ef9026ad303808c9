"""Damaged, truncated and malicious bundles are refused in one line, and nothing of them is kept."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

import xeval.data.bundle
from xeval.support.errors import BundleError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An intact bundle of two files."""
    folder = tmp_path_factory.mktemp("bundle")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes(name.encode() * 10_000)
    contents = xeval.data.bundle.Contents(reference="x", repositories=[])
    files = {f"models/some--model/{name}": folder / name for name in ("config.json", "model.safetensors")}
    xeval.data.bundle.write(folder / "bundle.tar", contents, files)
    return folder / "bundle.tar"


@pytest.fixture
def refused(command, tmp_path):
    def refuse(path: Path, message: str) -> None:
        found = command("reproduce", "distilmbert-card", "--bundle", path, "--results", tmp_path / "results")
        assert found[:2] == (2, "") and message in found[2] and found[2].count("\n") == 1
        assert not (tmp_path / "results").exists()

    return refuse


def test_flipped_bytes_in_members_are_detected(whole, tmp_path):
    """The first, the last and three other bytes of every member; between members, bytes hold no content."""
    content = bytearray(whole.read_bytes())
    with tarfile.open(whole, "r:") as tar:
        places = [m.offset_data + round(share * (m.size - 1)) for m in tar for share in (0, 0.3, 0.5, 0.9, 1)]
    for place in places:
        content[place] ^= 1
        (tmp_path / "damaged.tar").write_bytes(content)
        content[place] ^= 1
        with (
            pytest.raises(BundleError, match=r"copy the bundle again|copy it again"),
            xeval.data.bundle.using(tmp_path / "damaged.tar"),
        ):
            pytest.fail(f"byte {place} was flipped and nobody noticed")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_truncated_bundle_is_refused(whole, refused, tmp_path, share):
    content = whole.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: int(share * len(content))])
    refused(tmp_path / "cut.tar", "again")


def test_other_files_and_archives_are_refused(whole, refused, tmp_path):
    (tmp_path / "text.tar").write_text("no tar at all " * 100, encoding="utf-8")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(__file__, "table.toml")
    with tarfile.open(tmp_path / "compressed.tar", "w:gz") as tar:
        tar.add(__file__, "SHA256SUMS")
    refused(tmp_path / "text.tar", "not a bundle, or a damaged one")
    refused(tmp_path / "compressed.tar", "not a bundle, or a damaged one")
    refused(tmp_path / "other.tar", "its first member is not SHA256SUMS")
    refused(tmp_path / "absent.tar", "No such file or directory")
    refused(tmp_path, "Is a directory")


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """A tar whose manifest has the right hash of every member."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {member.name}\n" for member, content in members)
    manifest = tarfile.TarInfo("SHA256SUMS")
    with tarfile.open(path, "w") as tar:
        for member, content in [(manifest, sums.encode()), *members]:
            if member.isreg():
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (member("../../evil"), "is outside the folder"),
        (member("models/../../../evil"), "is outside the folder"),
        (member("/evil"), "is outside the folder"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "not a plain file"),
        (member("link", tarfile.LNKTYPE, "bundle.json"), "not a plain file"),
        (member("pipe", tarfile.FIFOTYPE), "not a plain file"),
        (member("device", tarfile.CHRTYPE), "not a plain file"),
        (member("folder", tarfile.DIRTYPE), "not a plain file"),
    ],
    ids=lambda value: value.name + value.type.decode() if isinstance(value, tarfile.TarInfo) else "",
)
def test_unsafe_members_are_refused(refused, tmp_path, monkeypatch, hostile, message):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    write_tar(tmp_path / "hostile.tar", [(hostile, b"")])
    refused(tmp_path / "hostile.tar", message)
    assert not list(tmp_path.rglob("evil"))
    assert [path.name for path in (tmp_path / "cache" / "bundles").iterdir()] == [".lock"]


def test_absolute_member_name_writes_nothing_outside(refused, tmp_path):
    write_tar(tmp_path / "hostile.tar", [(member(str(tmp_path / "evil")), b"")])
    refused(tmp_path / "hostile.tar", "again")
    assert not (tmp_path / "evil").exists()


def test_unlisted_or_duplicate_members_are_refused(whole, refused, tmp_path):
    for name in ("stowaway", "bundle.json"):
        (tmp_path / "more.tar").write_bytes(whole.read_bytes())
        with tarfile.open(tmp_path / "more.tar", "a:") as tar:
            tar.addfile(member(name), io.BytesIO())
        refused(tmp_path / "more.tar", f"member '{name}' is not in its SHA256SUMS, or is there twice")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[" * 100_000,
        b"{}",
        json.dumps({"bundle_version": 2, "reference": "x", "repositories": []}).encode(),
        json.dumps(
            {"reference": "x", "repositories": [{"kind": "model", "id": "../x", "revision": None, "commit": "a" * 40}]}
        ).encode(),
    ],
    ids=["empty", "deep", "nothing", "of a later version", "an id that is a path"],
)
def test_unreadable_bundle_json_is_refused(refused, tmp_path, text):
    write_tar(tmp_path / "odd.tar", [(member("bundle.json"), text)])
    refused(tmp_path / "odd.tar", "its bundle.json does not fit this version of xeval")


def test_failed_write_leaves_nothing_behind(whole, tmp_path):
    contents = xeval.data.bundle.Contents(reference="x", repositories=[])
    for path in (tmp_path / "absent" / "bundle.tar", tmp_path):
        with pytest.raises(BundleError, match="cannot be written") as refused:
            xeval.data.bundle.write(path, contents, {"tasks/t.toml": Path(__file__)})
        assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert not tmp_path.with_name(tmp_path.name + ".partial").exists()
