"""A stand-in for the hub on loopback: the few endpoints that downloads and commits use, and a log of requests.

    with serve(root) as hub:
        ...  # HF_ENDPOINT=hub.url

`root` holds `models/<organisation>/<name>/…` and `datasets/<organisation>/<name>/…`.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    status: int


class Commit(NamedTuple):
    repository: str
    parent: str | None
    message: str
    files: dict[str, bytes]
    is_pull_request: bool


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


NO_ANSWER = Answer(0)  # the connection is closed


@dataclass
class Hub:
    """What is served, and the requests so far."""

    root: Path
    commits: Mapping[str, str] = field(default_factory=dict)  # "datasets/<id>" → its one commit
    gated: Collection[str] = ()  # repositories with an open listing and closed files
    any_revision: bool = False  # serve the one commit for every revision, as some mirrors do
    fail_after: int | None = None  # answer 503 to everything after this many requests
    writer: str | None = None  # the token that may commit
    readers: Collection[str] = ()  # known tokens that may not commit
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    received: list[Commit] = field(default_factory=list)  # not written to `root`

    def commit(self, repository: str) -> str:
        return self.commits.get(repository) or hashlib.sha1(repository.encode()).hexdigest()

    def files(self, repository: str, method: str = "GET") -> list[str]:
        """The files of `repository` that were served, in order."""
        start = f"/{repository.removeprefix('models/')}/resolve/"
        return [
            request.path.removeprefix(start).partition("/")[2]
            for request in list(self.requests)
            if request.method == method and request.path.startswith(start) and request.status == 200
        ]

    def answer(self, path: str) -> Answer:
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            repository, (action, *rest) = "/".join(parts[1:4]), parts[4:] or ["revision"]
        else:
            kind = [] if parts[0] == "datasets" else ["models"]
            repository, (action, *rest) = "/".join((kind + parts)[:3]), (kind + parts)[3:] or [""]
        folder = self.root / repository
        if not folder.is_dir():  # the hub answers alike for absent and private repositories
            return _refusal(401, "RepoNotFound")
        revision, names = (rest[0], rest[1:]) if rest else ("main", [])
        if not self.any_revision and revision not in ("main", self.commit(repository)):
            return _refusal(404, "RevisionNotFound")
        if action == "revision":
            siblings = [{"rfilename": entry["path"], "size": entry["size"]} for entry in _entries(folder)]
            return _json({"id": repository.partition("/")[2], "sha": self.commit(repository), "siblings": siblings})
        if action == "tree":
            return _json(_entries(folder))
        if repository in self.gated:
            return _refusal(401, "GatedRepo")
        file = folder.joinpath(*names)
        if action != "resolve" or ".." in names or not file.is_file():
            return _refusal(404, "EntryNotFound")
        headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": self.commit(repository)}
        return Answer(200, file.read_bytes(), headers)

    def take(self, path: str, query: str, token: str, body: bytes) -> Answer:
        """The answer to a POST: validation of a card's metadata, how to send files, or the commit itself."""
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "validate-yaml"]:
            return _json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        repository, action = "/".join(parts[1:4]), parts[4]
        if token != self.writer:
            return _refusal(403, "Forbidden") if token in self.readers else _refusal(401, "InvalidToken")
        if not (self.root / repository).is_dir():
            return _refusal(404, "RepoNotFound")
        if action == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            return _json({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]})
        header, *entries = (json.loads(line) for line in body.splitlines())
        files = {entry["value"]["path"]: base64.b64decode(entry["value"]["content"]) for entry in entries}
        is_pull_request = "create_pr=1" in query
        parent = header["value"].get("parentCommit")
        if not is_pull_request and parent not in (None, self.commit(repository)):
            return _refusal(412, "PreconditionFailed")
        self.received.append(Commit(repository, parent, header["value"]["summary"], files, is_pull_request))
        page = f"{self.url}/{repository.removeprefix('models/')}"
        address = f"{page}/discussions/1" if is_pull_request else None
        return _json({"commitUrl": f"{page}/commit/{'c' * 40}", "commitOid": "c" * 40, "pullRequestUrl": address})


def _refusal(status: int, code: str) -> Answer:
    return Answer(status, b"", {"X-Error-Code": code, "X-Error-Message": code})


def _json(content: object) -> Answer:
    return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _entries(folder: Path) -> list[dict[str, str | int]]:
    return [_entry(file, folder) for file in sorted(folder.rglob("*")) if file.is_file()]


def _entry(file: Path, folder: Path) -> dict[str, str | int]:
    return {
        "type": "file",
        "path": file.relative_to(folder).as_posix(),
        "size": file.stat().st_size,
        "oid": _etag(file),
    }


def _etag(file: Path) -> str:
    """Git's hash, as on the hub for all but large files."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve(root: Path, **options) -> Iterator[Hub]:
    """Serve `root` on a free port of loopback; `options` are Hub's."""
    hub = Hub(root, **options)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            with lock:
                is_down = hub.fail_after is not None and len(hub.requests) >= hub.fail_after
                answer = Answer(503, b"outage") if is_down else hub.answer(path)
                hub.requests.append(Request(self.command, path, answer.status))
            self._send(answer)

        def do_POST(self) -> None:
            url, token = urlsplit(self.path), self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                answer = hub.take(unquote(url.path), url.query, token, body)
                hub.requests.append(Request(self.command, unquote(url.path), answer.status))
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            if answer == NO_ANSWER:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *arguments) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def connect(hub: Hub, monkeypatch) -> Hub:
    """Make the libraries in this process talk to `hub`, without pauses.

    The caller closes their session at the end, with huggingface_hub.close_session().
    """
    constants = "huggingface_hub.constants."
    monkeypatch.setattr(constants + "ENDPOINT", hub.url)
    monkeypatch.setattr(constants + "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    return hub
