"""The only module that talks to the hub: fetching files of a repository at a revision, and committing files.

It calls huggingface_hub, so HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and that library's cache apply here too. An
interrupted download continues from the files that arrived. If something fails, the error says plainly why.
"""

import errno
import hashlib
import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    filter_repo_objects,
)
from huggingface_hub.utils import logging as hub_logging

from xeval.data import bundle
from xeval.support.errors import DataError, ModelError, XevalError
from xeval.support.files import file_sha256, opened
from xeval.support.process_settings import ProcessSetting
from xeval.support.text import one_line

_NONE_SUCH = (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError, hub_errors.HFValidationError)
ASKED_S = 3.0  # how long a server may take to say how large the files are
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r'(?:W/)?"?(?!\.+"?$)[\w.-]{1,200}"?', re.ASCII)
_PLAIN_NAME = re.compile(r"(?!\.+$)[\w.-]{1,200}", re.ASCII)
_FIRST_PATH = "xeval_first_path"  # of a request, before redirects
_LONGEST_WAIT_S, _SAID_WAIT_S = 300, 5
_log = logging.getLogger("xeval")


_draws_bars = ContextVar("draws_bars", default=True)


def show_bars(is_wanted: bool) -> None:
    """Set whether xeval's downloads draw huggingface_hub's own bars, with rate and remaining time."""
    _draws_bars.set(is_wanted)


def fetch(
    kind: Literal["model", "dataset"], repo_id: str, revision: str | None, patterns: Sequence[str]
) -> tuple[Path, str]:
    """Fetch the files of `repo_id` that match `patterns` (or find them in the cache, or in the bundle in use).

    Files in sub-folders are fetched only if a pattern has a slash, since the hub's `*` also matches slashes.
    Returns the local folder that holds them and the commit that they belong to. Raises ModelError, DataError or
    BundleError.
    """
    in_use = bundle.in_use()
    if in_use is not None:
        return in_use.find(kind, repo_id, revision)
    try:
        _check_revision(revision)
        with _watched():
            folder = Path(
                huggingface_hub.snapshot_download(
                    repo_id,
                    repo_type=kind,
                    revision=revision,
                    allow_patterns=list(patterns),
                    ignore_patterns=_ignored(patterns),
                )
            )
            if not files_in(folder, patterns):
                folder = _folder_of_a_mirror(kind, repo_id, revision, patterns) or folder
    except Exception as error:  # any error of the network, the server or the disk
        raise _refusal(error, kind, repo_id, revision) from _cause(error)
    if kind == "dataset":  # a model's files are checked where their checksums are computed
        for path in files_in(folder, patterns):
            check_download(path, file_sha256(path))
    return folder, folder.name


def files_in(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files in `folder` that `fetch` fetches for `patterns`, in order."""
    return _matching(_names_in(folder), folder, patterns)


def files_by_pattern(folder: Path, patterns: Sequence[str]) -> dict[str, list[Path]]:
    """Return, for each of `patterns`, the files in `folder` that `fetch` fetches for it alone, in order."""
    names = _names_in(folder)
    return {pattern: _matching(names, folder, [pattern]) for pattern in patterns}


def _names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _matching(names: Sequence[str], folder: Path, patterns: Sequence[str]) -> list[Path]:
    kept = filter_repo_objects(names, allow_patterns=list(patterns), ignore_patterns=_ignored(patterns))
    return [folder / name for name in kept]


def _ignored(patterns: Sequence[str]) -> list[str] | None:
    return None if any("/" in pattern for pattern in patterns) else ["*/*"]


def newest_commit(repo_id: str) -> str:
    """Return the commit that the model `repo_id` is at now. Raises ModelError."""
    try:
        with _watched():
            return str(huggingface_hub.HfApi().model_info(repo_id).sha)
    except Exception as error:
        raise _not_pushed(error, repo_id) from _cause(error)


def push(repo_id: str, files: Mapping[str, bytes], parent: str, message: str, pull_request: bool) -> str:
    """Commit `files`, by path, on top of the commit `parent` of the model `repo_id`, on main or as a pull request.

    Returns the address of the commit or pull request. Raises ModelError, also if main is no longer at `parent`.
    """
    if huggingface_hub.get_token() is None:
        raise ModelError(
            f"model {repo_id}: nothing was pushed: there is no token; log in with hf auth login, or set HF_TOKEN"
        )
    # For streams, huggingface_hub uses its own client, whose requests are watched, whatever the hub asks for.
    operations = [huggingface_hub.CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
    try:
        with _watched(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about the card's metadata as a whole
            commit = huggingface_hub.HfApi().create_commit(
                repo_id,
                operations,
                commit_message=message,
                token=True,
                create_pr=pull_request,
                parent_commit=parent,
            )
    except Exception as error:
        raise _not_pushed(error, repo_id) from _cause(error)
    return one_line(commit.pr_url or commit.commit_url)


@contextmanager
def _watched() -> Iterator[None]:
    _watch_session()
    # Silenced, because its lines about retries would come before ours about the outcome.
    with _SILENCE.changed(), nullcontext() if _draws_bars.get() else _NO_BARS.changed():
        yield


def _silence() -> int:
    usual = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    return usual


def _hide_bars() -> bool:
    were_hidden = are_progress_bars_disabled()
    disable_progress_bars()
    return were_hidden


_SILENCE = ProcessSetting(_silence, hub_logging.set_verbosity)
_NO_BARS = ProcessSetting(_hide_bars, lambda were_hidden: None if were_hidden else enable_progress_bars())


def _not_pushed(error: Exception, repo_id: str) -> ModelError:
    return ModelError(f"model {repo_id}: nothing was pushed: {_explain_push(error)}")


def _explain_push(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, hub_errors.HfHubHTTPError) else None
    if isinstance(error, hub_errors.HFValidationError):
        return "that is not the id of a repository; wanted organisation/name"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return "the hub has no such model, or your token cannot see it; check the id, or create it: hf repos create"
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it"
    if status in _EXPLAINED:
        return _EXPLAINED[status]
    text = "its text is withheld: it contains HF_TOKEN" if _says_token(error) else one_line(error)[:160]
    if status is None and not isinstance(error, ValueError):
        text += "; check the network and HF_ENDPOINT, and check whether the pull request exists before you try again"
    return f"{type(error).__name__}: {text}"


_EXPLAINED: dict[int | None, str] = {
    401: "the hub does not accept your token (401); log in again with hf auth login, or set HF_TOKEN",
    403: "your token is not allowed to do that (403); give it write access, and check that the repository accepts pull"
    " requests",
    409: "the repository has changed in the meantime (409); run the command again on its new state",
    412: "the repository has changed in the meantime (412); run the command again on its new state",
}


def missing_bytes(
    kind: Literal["model", "dataset"], repo_id: str, revision: str | None, patterns: Sequence[str]
) -> int | None:
    """Return how many bytes `fetch` would download if none are here; None if that is unknown, as without a network.

    Raises as `fetch` does if the hub has no such repository.
    """
    if bundle.in_use() is not None:
        return 0
    try:
        _watch_session()
        api = huggingface_hub.HfApi()
        about = api.model_info if kind == "model" else api.dataset_info
        files = about(repo_id, revision=revision, files_metadata=True, timeout=ASKED_S).siblings or []
        sizes = {file.rfilename: file.size or 0 for file in files}
        names = filter_repo_objects(sizes, allow_patterns=[*patterns], ignore_patterns=_ignored(patterns))
        return sum(sizes[name] for name in names)
    except _NONE_SUCH as error:
        raise _refusal(error, kind, repo_id, revision) from _cause(error)
    except Exception:  # whatever it is, `fetch` meets it too, and reports it
        return None


def cached_folder(
    kind: Literal["model", "dataset"], repo_id: str, revision: str | None, patterns: Sequence[str]
) -> Path | None:
    """Return the folder of `repo_id` in the bundle in use, or else in the cache if a file matches each of `patterns`.

    None otherwise.
    """
    try:
        in_use = bundle.in_use()
        if in_use is not None:
            return in_use.find(kind, repo_id, revision)[0]
        _check_revision(revision)
        snapshot = huggingface_hub.snapshot_download(repo_id, repo_type=kind, revision=revision, local_files_only=True)
    except Exception:  # it is not there, or not readable, or not a repository's name
        return None
    folder = Path(snapshot)
    return folder if all(files_by_pattern(folder, patterns).values()) else None


def _refusal(error: Exception, kind: str, repo_id: str, revision: str | None) -> XevalError:
    message = f"{kind} {repo_id}{'@' + revision if revision else ''}: {_explain(error, kind)}"
    return ModelError(message) if kind == "model" else DataError(message)


def _cause(error: Exception) -> Exception | None:
    """Return `error` unless it contains the token: a server can echo it, and tracebacks are pasted into issues."""
    return None if _says_token(error) else error


def check_download(path: Path, sha256: str) -> None:
    """Raise DataError if a file in the hub's cache is not what the hub said it would be.

    The cache names large files by their SHA-256, and small ones by the SHA-1 that git or a mirror has for them.
    """
    blob = path.resolve()
    if blob.parent.name != "blobs":
        return
    is_damaged = bool(_SHA256.fullmatch(blob.name)) and blob.name != sha256
    if is_damaged or (_SHA1.fullmatch(blob.name) and blob.name not in _sha1s(blob)):
        raise DataError(f"{path}: damaged (it is not what the hub announced); remove {blob} to fetch it again")


def _sha1s(path: Path) -> tuple[str, str]:
    """Return the SHA-1 as git has it, with a header before the content, and the SHA-1 of the content alone."""
    with opened(path) as file:
        of_git = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        plain = hashlib.sha1(usedforsecurity=False)
        while part := file.read(1 << 20):
            of_git.update(part)
            plain.update(part)
    return of_git.hexdigest(), plain.hexdigest()


class _HubError(Exception):
    """An answer of the hub that xeval does not accept."""


class _RevisionError(Exception):
    """A revision that no repository can have, such as one that an adapter names."""


def _check_revision(revision: str | None) -> None:
    """Raise _RevisionError for a name that git refuses and that would lead out of the cache, where it is a file's."""
    if revision is not None and (".." in revision or revision.startswith("/") or "\\" in revision):
        raise _RevisionError(revision)


def _watch_session() -> None:
    """Check every request of huggingface_hub, and every answer before the library acts on it."""
    try:
        huggingface_hub.get_token()
    except (OSError, ValueError) as error:  # another user's, or no text
        raise _HubError(f"the token cannot be read: set HF_TOKEN_PATH to another file; {_said(error)}") from error
    try:
        client = huggingface_hub.get_session()
    except Exception as error:  # of variables that are about all connections
        raise _HubError(f"check HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE; {_said(error)}") from error
    hooks = client.event_hooks
    if _check_answer not in hooks["response"]:
        client.event_hooks = {
            "request": [*hooks["request"], _keep_token, _note_path],
            "response": [*hooks["response"], _check_answer],
        }


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)[:80]}"


def _is_of_hub(url: Any) -> bool:
    own = url.join(huggingface_hub.constants.ENDPOINT)
    return bool((url.scheme, url.host, url.port) == (own.scheme, own.host, own.port))


def _keep_token(request: Any) -> None:
    """Remove the token from requests to other hosts than HF_ENDPOINT, since a hub can name pages on them."""
    if "authorization" in request.headers and not _is_of_hub(request.url):
        del request.headers["authorization"]


def _note_path(request: Any) -> None:
    """Note what was asked for: requests after a redirect have the same extensions."""
    request.extensions.setdefault(_FIRST_PATH, request.url.path)


def _is_about_files(path: str) -> bool:
    """Return whether an answer for `path` says what there is, and is not a file itself."""
    return "/api/" in path and "/resolve/" not in path


def _check_names(response: Any) -> None:
    """Raise _HubError for a name that the library would make paths of without checking it: of a commit or a blob.

    With Xet, blobs are named by the listing, and no header is asked for.
    """
    following = (response.links.get("next") or {}).get("url")
    if following is not None and not _is_about_files(response.request.url.join(following).path):
        raise _HubError(f"its list continues at {one_line(following)[:80]!r}, which is not a list")
    response.read()
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return  # the library refuses it
    for entry in content if isinstance(content, list) else [content]:
        if isinstance(entry, dict):
            of_lfs = entry.get("lfs")
            named = [entry.get("sha"), entry.get("oid"), *(of_lfs.values() if isinstance(of_lfs, dict) else ())]
            for name in named:
                if isinstance(name, str) and not _PLAIN_NAME.fullmatch(name):
                    raise _HubError(f"{one_line(name)[:60]!r} is not a valid file name")


def _check_answer(response: Any) -> None:
    headers = response.headers
    if response.request.method == "GET" and _is_about_files(response.request.extensions.get(_FIRST_PATH, "")):
        _check_names(response)
    if response.request.method == "HEAD":  # names of files in the cache are made from its answer
        for name in ("ETag", "X-Linked-Etag", "X-Repo-Commit"):
            if name in headers and not _NAME.fullmatch(headers[name]):
                raise _HubError(f"{name} {one_line(headers[name])[:60]!r} is not a valid file name")
        refresh = (response.links.get("xet-auth") or {}).get("url") or headers.get("X-Xet-Refresh-Route")
        if refresh is not None and not _is_of_hub(response.request.url.join(refresh)):
            headers.pop("X-Xet-Hash", None)  # then the file is fetched from the hub itself
    wait_s = _wait_s(headers) if response.status_code in (429, 503) else 0
    if wait_s > _LONGEST_WAIT_S:
        raise _HubError(f"it asks for a wait of {wait_s:,} s; run the command again after that")
    if wait_s > _SAID_WAIT_S:
        _log.warning("the hub asks for a wait of %d s", wait_s)


def _wait_s(headers: Any) -> int:
    matches = (
        re.fullmatch(r"\d{1,15}", headers.get("Retry-After", "")),
        re.search(r"\bt=(\d{1,15})", headers.get("RateLimit", "")),
    )
    return max((int(match[match.lastindex or 0]) for match in matches if match), default=0)


def _explain(error: Exception, kind: str) -> str:
    local_way = "give a local folder instead" if kind == "model" else "pass --data DIR for a local copy"
    if isinstance(error, hub_errors.GatedRepoError):
        return "access is gated; accept its terms on the hub and set HF_TOKEN"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return f"the hub has no such {kind}, or HF_TOKEN cannot see it; check the id"
    if isinstance(error, hub_errors.RevisionNotFoundError | _RevisionError):
        return "the hub has no such revision; give a commit, tag or branch of it"
    status = _status(error)
    if status is not None:
        return f"the hub answers with an error ({status}); {_advice(status)}, or {local_way}"
    if isinstance(error, hub_errors.LocalEntryNotFoundError):
        return (
            "not in the local cache, and the hub cannot be reached; check the network, HF_ENDPOINT and HF_HUB_OFFLINE,"
            f" or {local_way}"
        )
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return (
            f"cannot be stored in the hub's cache: {one_line(error)[:200]}; correct that, set HF_HOME to"
            f" another folder, or {local_way}"
        )
    text = "its text is withheld: it contains HF_TOKEN" if _says_token(error) else one_line(error)[:160]
    return (
        f"download failed ({type(error).__name__}: {text}); complete files are kept, so run the command again, or"
        f" {local_way}"
    )


_OF_THE_DISK = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST),
}
_REFUSED = {
    401: "it does not accept your token: log in again with hf auth login, or correct or unset HF_TOKEN",
    403: "check that your token may read it",
    429: "it got too many requests: run the command again in a few minutes; hf auth login raises the limit",
}
_SERVER_ERRORS = 500


def _advice(status: int) -> str:
    if status >= _SERVER_ERRORS:
        return "complete files are kept, so run the command again later"
    return _REFUSED.get(status, "check the id and HF_ENDPOINT")


def _status(error: BaseException | None) -> int | None:
    """Return the status of the answer that `error` is about, or was raised from; None if there was no answer."""
    while error is not None:
        if isinstance(error, hub_errors.HfHubHTTPError):
            return int(error.response.status_code)
        error = error.__cause__
    return None


def _says_token(error: BaseException | None) -> bool:
    """Return whether the token is in `error` or in anything that a traceback would show with it."""
    token = None
    with suppress(OSError, ValueError):  # then no request has had it either
        token = huggingface_hub.get_token()
    while error is not None and token:
        if token in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _folder_of_a_mirror(kind: str, repo_id: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    """Return where the files are if the server answers a pinned revision with its own commit, as mirrors may do.

    huggingface_hub then names the folder of the revision, but puts the files into the commit's. None if no file
    matches `patterns`.
    """
    names = huggingface_hub.HfApi().list_repo_files(repo_id, repo_type=kind, revision=revision)
    name = next(iter(filter_repo_objects(names, allow_patterns=list(patterns))), None)
    if name is None:
        return None
    file = Path(huggingface_hub.hf_hub_download(repo_id, name, repo_type=kind, revision=revision))
    return file.parents[len(Path(name).parts) - 1]
