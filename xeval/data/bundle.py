"""A bundle: one tar file with everything needed to reproduce a published table on a machine without a network.

Its first member is SHA256SUMS, with the checksum of every other member. The bundle is unpacked once, into the cache,
under the hash of that member. While a bundle is in use, `xeval.data.hub` and `xeval.definitions.registry` find in it
what they would otherwise fetch or look up.
"""

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, BinaryIO, Literal, cast

from pydantic import Field, ValidationError

from xeval.definitions.toml import Frozen, HubId, Name
from xeval.support import bundle_in_use
from xeval.support.bundle_in_use import Unpacked
from xeval.support.cache import cache_home
from xeval.support.errors import BundleError, StoreError
from xeval.support.files import end_of_links, file_sha256, opened, read_ordinary, safe_name
from xeval.support.locks import locked
from xeval.support.sealed import MANIFEST, checksums, sealing
from xeval.support.text import one_line

_CONTENTS = "bundle.json"
MAX_TEXT_BYTES = 10_000_000  # of each of the two above

Kind = Literal["model", "dataset"]


class Repository(Frozen):
    """One repository of the hub, in the bundle's folder that `folder_of` names."""

    kind: Kind
    id: HubId
    revision: str | None
    """The revision that was asked for; None for the newest."""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """The commit that was fetched."""


class Contents(Frozen):
    bundle_version: Literal[1] = 1
    reference: Name
    repositories: Annotated[list[Repository], Field(max_length=1000)]


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been verified and unpacked."""

    path: Path
    folder: Path
    contents: Contents

    def find(self, kind: Kind, repo_id: str, revision: str | None) -> tuple[Path, str]:
        """Return the folder of a repository's files and the commit that they belong to. Raises BundleError."""
        of_kind = [held for held in self.contents.repositories if held.kind == kind]
        repository = next((held for held in of_kind if held.id == repo_id), None)
        if repository is None:
            names = ", ".join(held.id for held in of_kind) or "none"
            raise BundleError(f"{self.path}: no {kind} {repo_id} in this bundle; it has {names}")
        if revision not in (None, repository.revision, repository.commit):
            raise BundleError(
                f"{self.path}: wanted {kind} {repo_id}@{revision}, it has {repository.commit}; make it again"
            )
        return self.folder / folder_of(kind, repo_id), repository.commit


def folder_of(kind: Kind, repo_id: str) -> str:
    return f"{kind}s/{safe_name(repo_id)}"


def in_use() -> Bundle | None:
    """Return the bundle that `using` was last called with, in this process or in the one that started it; or None."""
    unpacked = bundle_in_use.unpacked()
    return Bundle(unpacked.path, unpacked.folder, _contents(unpacked)) if unpacked is not None else None


@contextmanager
def using(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Take definitions and files of the hub, during the block, from the bundle at `path`, and none from the network.

    This holds for every thread of this process and for the processes that it starts. None changes nothing: a bundle in
    use stays in use. Raises BundleError for a file that is not a bundle, and for a damaged or hostile one.
    """
    with bundle_in_use.using(_open(Path(path))) if path is not None else nullcontext():
        yield


class _InParts:
    """A file of which only small pieces can be read: a header that claims gigabytes would take as much memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_TEXT_BYTES:
            raise BundleError(f"a member of it has a header of {size:,} bytes, so it is not an xeval bundle")
        return self._file.read(size)


def _open(path: Path) -> Unpacked:
    try:
        # Never compressed, so it cannot unpack to more than its own size.
        with opened(path) as file, tarfile.open(fileobj=cast(IO[bytes], _InParts(file)), mode="r:") as tar:
            unpacked = Unpacked(path, _unpacked(tar))
        _contents(unpacked)
    except BundleError as error:
        raise BundleError(f"{path}: {error}; copy the bundle again") from error
    except StoreError:  # of the cache, not of the bundle
        raise
    except ValidationError as error:
        raise BundleError(f"{path}: its {_CONTENTS} does not fit this version of xeval; make it again") from error
    except OSError as error:
        reason = one_line(error.strerror or error)
        raise BundleError(f"{path}: cannot be read, or cannot be unpacked into {cache_home()}: {reason}") from error
    except Exception as error:  # tarfile's own, and whatever else a stranger's file brings about in it
        raise BundleError(f"{path}: not a bundle, or a damaged one ({one_line(error)[:160]}); copy it again") from error
    return unpacked


def _contents(unpacked: Unpacked) -> Contents:
    return Contents.model_validate_json(read_ordinary(unpacked.folder / _CONTENTS, MAX_TEXT_BYTES))


def _unpacked(tar: tarfile.TarFile) -> Path:
    """Return the cache's folder with the content of `tar`, exactly as its manifest says; unpack it if necessary."""
    first = tar.next()
    is_manifest = first is not None and first.name == MANIFEST and first.size <= MAX_TEXT_BYTES
    content = tar.extractfile(first) if first is not None and is_manifest and first.isreg() else None
    if content is None:
        raise BundleError(f"its first member is not {MANIFEST}, so it is not an xeval bundle")
    manifest = content.read()
    folder = cache_home() / "bundles" / hashlib.sha256(manifest).hexdigest()
    with locked(folder.parent):
        if checksums(folder) is None or (folder / MANIFEST).read_bytes() != manifest:
            with sealing(folder) as partial:
                _extract(tar, manifest, partial)
    return folder


def _extract(tar: tarfile.TarFile, manifest: bytes, folder: Path) -> None:
    unseen = {line.partition("  ")[2] for line in manifest.decode().splitlines()}
    (folder / MANIFEST).write_bytes(manifest)
    while (member := tar.next()) is not None:
        if member.name not in unseen:
            raise BundleError(f"member {one_line(member.name)[:120]!r} is not in its {MANIFEST}, or is there twice")
        if not member.isreg() or member.issparse():
            raise BundleError(f"member {one_line(member.name)[:120]!r} is not a plain file")
        unseen.remove(member.name)
        _write(tar, member, folder / _name_inside(member))
    if checksums(folder) is None:
        raise BundleError("a file in it is damaged or missing: the checksums do not match")


def _name_inside(member: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of `member` in the folder. Not by tarfile's filters, which Python has only from 3.11.4 on."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise BundleError(f"member {one_line(member.name)[:120]!r} is outside the folder that it is unpacked into")
    return path


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None  # it is a plain file
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)


def write(path: Path, contents: Contents, file_of: Mapping[str, Path]) -> None:
    """Write a bundle of the files in `file_of` (name inside → file). The same files give the same bytes.

    Raises BundleError if it cannot be written, StoreError if `path` is a link that leads to itself; a file that was at
    `path` then stays.
    """
    text = contents.model_dump_json(indent=1).encode() + b"\n"
    if path.exists() and not path.is_file():
        raise BundleError(f"{path}: cannot be written, since it is not an ordinary file; name another")
    path = end_of_links(path)  # writes through a link, which stays
    partial = path.with_name(path.name + ".partial")
    try:
        checksum_of = {name: file_sha256(file) for name, file in file_of.items()}
        checksum_of[_CONTENTS] = hashlib.sha256(text).hexdigest()
        # In the order in which xeval.support.sealed lists files: by path, not by the letters of the name.
        manifest = "".join(f"{checksum_of[name]}  {name}\n" for name in sorted(checksum_of, key=Path)).encode()
        if max(len(manifest), len(text)) > MAX_TEXT_BYTES:
            raise BundleError(f"{path}: too many files for a bundle, whose list may take {MAX_TEXT_BYTES:,} bytes")
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
            tar.addfile(_member(_CONTENTS, len(text)), io.BytesIO(text))
            for name, file in sorted(file_of.items()):
                with file.open("rb") as content:
                    tar.addfile(_member(name, file.stat().st_size), content)
        partial.replace(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {one_line(error.strerror or error)}; fix that") from error
    finally:
        partial.unlink(missing_ok=True)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # no time and no owner, so nothing depends on this machine
    member.size = size
    return member
