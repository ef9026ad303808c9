"""A hostile hub can't choose paths on disk, damage a download, send the token to another host or impose a long wait."""

import hashlib
import json
import shutil

import huggingface_hub
import pytest
from test_paths_and_bombs import is_one_line
from test_token import TOKEN

from tests.helpers import tiny
from tests.helpers.stand_in_hub import Answer, Hub, serve
from xeval.data.hub import fetch
from xeval.support.errors import ModelError


@pytest.fixture
def hub(tmp_path, checkpoint_of, monkeypatch):
    shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "root" / "models" / "org" / "name")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve(tmp_path / "root") as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub
    huggingface_hub.close_session()


@pytest.fixture
def run(command, mini):
    words = ["--data", mini.data, "--no-train", "--language", "es", "--quiet"]
    return lambda: command("run", mini.task_file, "--model", "org/name", *words)


def change(hub: Hub, end: str, **headers: str) -> None:
    """Add `headers` to the answers for paths that end in `end`."""
    honest = hub.answer

    def answer(path: str) -> Answer:
        found = honest(path)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return found._replace(headers={**found.headers, **more}) if path.endswith(end) else found

    hub.answer = answer


NAMES = ["/abs/x.pth", "../../x", "..", "a/b", '"/abs/x"', 'W/"../x"', "a b", "x" * 300, "C:\\x"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("header", ["ETag", "X_Linked_Etag", "X_Repo_Commit"])
def test_invalid_file_names_in_headers_are_refused(hub, run, tmp_path, header, name):
    change(hub, "model.safetensors", **{header: name.replace("/abs", str(tmp_path / "abs"))})
    answer = run()
    is_one_line(answer)
    assert "is not a valid file name" in answer.err
    assert not (tmp_path / "abs").exists()


FILES = ["config.json", "tokenizer.json", "model.safetensors"]
CHECKSUMS = {
    "SHA-256": lambda content: hashlib.sha256(content).hexdigest(),
    "git": lambda content: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    "SHA-1": lambda content: hashlib.sha1(content).hexdigest(),  # sent by a mirror
}


@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("name", FILES)
def test_download_with_wrong_checksum_is_refused(hub, run, name, checksum):
    content = (hub.root / "models/org/name" / name).read_bytes()
    change(hub, name, ETag=f'"{CHECKSUMS[checksum](content + b" ")}"')
    answer = run()
    is_one_line(answer)
    assert f"{name}: damaged (it is not what the hub announced)" in answer.err


@pytest.mark.parametrize("checksum", CHECKSUMS)
def test_download_with_right_checksum_is_used(hub, run, checksum):
    content = (hub.root / "models/org/name/model.safetensors").read_bytes()
    change(hub, "model.safetensors", ETag=f'"{CHECKSUMS[checksum](content)}"')
    assert run().code == 0


@pytest.mark.parametrize("header", ["Link", "X_Xet_Refresh_Route"])
def test_xet_links_to_another_host_are_not_followed(hub, run, tmp_path, header):
    with serve(tmp_path / "root") as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost") + "/api/models/org/name/xet-read-token/main"
        said = f'<{elsewhere}>; rel="xet-auth"' if header == "Link" else elsewhere
        change(hub, "model.safetensors", X_Xet_Hash="a" * 64, **{header: said})
        assert run().code == 0
    assert other.requests == []


@pytest.mark.parametrize("headers", [{"Retry_After": "1000000"}, {"RateLimit": '"api";r=0;t=1000000'}])
def test_excessive_retry_wait_is_refused(hub, run, headers):
    honest = hub.answer
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    hub.answer = lambda path: Answer(429, b"", more) if "/resolve/" in path else honest(path)
    answer = run()
    is_one_line(answer)
    assert "it asks for a wait of 1,000,000 s" in answer.err


def test_token_is_not_sent_to_another_host(hub, run, tmp_path):
    tokens: dict[bool, set[str | None]] = {True: set(), False: set()}
    client = huggingface_hub.get_session()

    def note(response) -> None:  # the request as it was sent
        sent = response.request
        tokens["localhost" in str(sent.url)].add(sent.headers.get("authorization"))

    client.event_hooks = {**client.event_hooks, "response": [note]}
    with serve(tmp_path / "root") as other:
        url = other.url.replace("127.0.0.1", "localhost") + "/api/models/org/name/tree/main"
        change(hub, f"/tree/{hub.commit('models/org/name')}", Link=f'<{url}>; rel="next"')
        change(hub, "/tree/main", Link=f'<{url}>; rel="next"')
        answer = run()
    assert answer.code in (0, 2) and "Traceback" not in answer.err
    assert tokens == {True: {None}, False: {f"Bearer {TOKEN}"}}


def rewrite(hub: Hub, part: str, change_content) -> None:
    """Change what the hub says in JSON at paths with `part`."""
    honest = hub.answer

    def answer(path: str) -> Answer:
        found = honest(path)
        if part not in path or found.status != 200:
            return found
        return found._replace(body=json.dumps(change_content(json.loads(found.body))).encode())

    hub.answer = answer


def as_named(name: str):
    """A listing whose weights are stored by Xet under `name`, so that no header is asked for."""

    def change_content(entries: list) -> list:
        of_weights = {"lfs": {"oid": name, "size": 9, "pointerSize": 1}, "xetHash": "a" * 64}
        return [entry | (of_weights if entry["path"] == "model.safetensors" else {}) for entry in entries]

    return change_content


WAYS = {
    "commit": ("/revision/", lambda name: lambda about: about | {"sha": name}),
    "blob of Xet": ("/tree/", as_named),
}


@pytest.mark.parametrize("name", ["/abs/x", "../../../../x", "..", "a b"])
@pytest.mark.parametrize("what", WAYS)
def test_names_in_json_do_not_become_paths(hub, run, tmp_path, what, name):
    part, named = WAYS[what]
    (tmp_path / "abs").mkdir()
    rewrite(hub, part, named(name.replace("/abs", str(tmp_path / "abs"))))
    before = {path for path in tmp_path.rglob("*") if "hub" not in path.parts}
    answer = run()
    is_one_line(answer)
    assert "is not a valid file name" in answer.err
    assert {path for path in tmp_path.rglob("*") if "hub" not in path.parts} <= before
    assert list((tmp_path / "abs").iterdir()) == []


@pytest.mark.parametrize("part", ["/revision/", "/tree/"])
def test_names_in_json_are_checked_after_a_redirect(hub, run, part):
    rewrite(hub, part, WAYS["commit" if part == "/revision/" else "blob of Xet"][1]("../../../../x"))
    told = hub.answer

    def answer(path: str) -> Answer:
        if part in path and not path.startswith("/moved"):
            return Answer(307, b"", {"Location": f"/moved/resolve{path}"})
        return told(path.removeprefix("/moved/resolve"))

    hub.answer = answer
    assert "is not a valid file name" in run().err


def test_listing_may_not_continue_in_a_file(hub, run):
    change(hub, f"/tree/{hub.commit('models/org/name')}", Link=f'<{hub.url}/org/name/resolve/main/x>; rel="next"')
    assert "which is not a list" in run().err


@pytest.mark.parametrize("revision", ["../../../../x", "/x", "a/../../../../x", "..\\x"])
def test_revision_cannot_leave_the_cache(hub, tmp_path, revision):
    hub.any_revision = True
    with pytest.raises(ModelError, match="the hub has no such revision"):
        fetch("model", "org/name", revision, ["config.json"])
    assert hub.requests == []
