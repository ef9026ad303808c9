"""`xeval push` writes what it has shown to the model's repository, nowhere else, and only when told to."""

import re
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from tests.helpers.sample_report import CARD as TABLE
from tests.helpers.sample_report import TASK, sample_runs
from tests.helpers.stand_in_hub import NO_ANSWER, Answer, Hub, connect, serve
from xeval.cli import main
from xeval.report.formats.card_on_hub import with_results, with_section
from xeval.results.store import load_runs, save_record
from xeval.support.errors import XevalError

TOKEN = "hf_CanaryCanaryCanaryCanaryCanaryCanary"
MODEL = TABLE.rows[-1].model
CARD = """---
license: apache-2.0
language:
- no # Norwegian
- en
model-index:
- name: distilbert
  results:
  - task: {type: fill-mask}
    dataset:
      name: Theirs
      type: org/theirs
      config: no
    metrics:
    - type: accuracy
      value: 1.0e-1
# what follows is theirs too
tags: [exbert]
---

# DistilmBERT

Text of theirs.
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Runs on all of the task's rows, since other runs get no entries for the hub."""
    folder = tmp_path_factory.mktemp("results")
    rows = TASK.expected_rows
    data = {"train_rows": {"found": rows.train, "expected": rows.train, "used": rows.train}}
    for run in sample_runs(folder, rows.of("test", "en")):
        save_record(run.folder, run.record.model_copy(update={"data": run.record.data.model_copy(update=data)}))
    return folder


@pytest.fixture
def results(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with the model's repository in it, and a token that may write there."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    put(tmp_path, CARD)
    with serve(tmp_path / "root", writer=TOKEN) as hub:
        yield connect(hub, monkeypatch)
    huggingface_hub.close_session()


def put(tmp_path: Path, card: str | bytes | None) -> Path:
    repository = tmp_path / "root" / "models" / MODEL
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "config.json").write_text("{}")
    if card is not None:
        (repository / "README.md").write_bytes(card.encode() if isinstance(card, str) else card)
    return repository


@pytest.fixture
def push(results, monkeypatch, capsys):
    def push(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["xeval", "push", *words, "--results", str(results)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return left.value.code or 0, said.out, said.err

    return push


def posts(hub: Hub) -> list[str]:
    return [request.path for request in hub.requests if request.method == "POST"]


def test_without_yes_all_is_shown_and_nothing_sent(hub, push):
    code, said, _ = push("distilmbert")
    assert code == 0 and posts(hub) == [] and hub.received == []
    assert said.endswith("nothing was pushed; --yes pushes this as a pull request\n")
    assert "+# Evaluation on XNLI\n" in said and "\n+## Findings\n" in said
    for listed in ("changed README.md: ", "new .eval_results/xeval-xnli.yaml: ", "new xeval/xnli/"):
        assert f"\n{listed}" in said
    assert not [line for line in said.splitlines() if re.match(r"-(?!--)", line)]  # nothing of theirs is removed


def test_what_is_sent_is_what_was_shown(hub, push, results, tmp_path):
    _, shown, _ = push("distilmbert")
    code, said, _ = push("distilmbert", "--yes")
    assert code == 0 and said.endswith(f"pushed as a pull request: {hub.url}/{MODEL}/discussions/1\n")
    assert said.splitlines()[:-1] == shown.splitlines()[:-1]
    [commit] = hub.received
    assert commit.is_pull_request and commit.parent == hub.commit(f"models/{MODEL}")
    listed = {line.split()[1].rstrip(":") for line in shown.splitlines() if line.startswith(("new ", "changed "))}
    assert listed == commit.files.keys()
    for path, content in commit.files.items():
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / path).write_bytes(content)
    there = load_runs(tmp_path / "clone" / "xeval")
    ours = [run.record for run in load_runs(results) if run.record.model.id == MODEL]
    assert [run.record for run in there] == ours and len(ours) == 2
    entries = yaml.safe_load(commit.files[".eval_results/xeval-xnli.yaml"])
    values = {entry["dataset"]["task_id"]: entry["value"] for entry in entries}
    for language, score in ours[0].scores.items():
        assert values[language] == pytest.approx((score.value + ours[1].scores[language].value) / 2, abs=1e-4)


def test_content_of_others_is_kept_byte_for_byte(hub, push):
    push("distilmbert", "--yes")
    card = hub.received[0].files["README.md"].decode()
    left = card
    for block in (r"  - task:\n      type: text-classification.*?(?=\n# what)", r"\n<!-- xeval: begin xnli -->.*-->\n"):
        left, n = re.subn(block, "", left, flags=re.DOTALL)
        assert n == 1
    assert left.replace("\n\n# what", "\n# what") == CARD
    results = ModelCard(card).data.eval_results
    assert [result.dataset_name for result in results] == ["Theirs"] + ["XNLI"] * 7


def test_pushing_again_replaces_only_its_own_content(hub, push, results, tmp_path):
    push("distilmbert", "--yes")
    files = hub.received[0].files
    for path, content in files.items():
        (tmp_path / "root" / "models" / MODEL / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / "models" / MODEL / path).write_bytes(content)
    hub.commits = {f"models/{MODEL}": "2" * 40}
    code, said, _ = push("distilmbert", "--yes")
    assert code == 0 and said.endswith("nothing to push: the repository has all of it already\n")
    assert len(hub.received) == 1
    gone = next(run for run in load_runs(results) if run.record.model.id == MODEL)
    shutil.rmtree(gone.folder)
    push("distilmbert", "--yes")
    card = hub.received[1].files["README.md"].decode()
    assert card.count("<!-- xeval: begin xnli -->") == 1 and card.count("mean of seeds") == 0
    assert len(ModelCard(card).data.eval_results) == 8


def test_a_repository_without_a_card_gets_one(hub, push, tmp_path):
    (tmp_path / "root" / "models" / MODEL / "README.md").unlink()
    code, said, _ = push("distilmbert", "--yes")
    assert code == 0 and "new README.md" in said
    card = hub.received[0].files["README.md"].decode()
    assert card.startswith("---\nmodel-index:\n") and len(ModelCard(card).data.eval_results) == 7


def test_main_option_commits_instead_of_a_pull_request(hub, push):
    code, said, _ = push("distilmbert", "--yes", "--main")
    assert code == 0 and said.endswith(f"pushed as a commit on main: {hub.url}/{MODEL}/commit/{'c' * 40}\n")
    assert not hub.received[0].is_pull_request


def test_pushing_needs_a_token_and_accepts_a_stored_one(hub, push, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    code, said, _ = push("distilmbert")
    assert code == 0 and "nothing was pushed" in said  # looking needs no token
    code, _, error = push("distilmbert", "--yes")
    assert code == 2 and "there is no token; log in with hf auth login, or set HF_TOKEN" in error
    assert error.count("\n") == 1 and posts(hub) == []
    (tmp_path / "token").write_text(TOKEN)
    assert push("distilmbert", "--yes")[0] == 0 and len(hub.received) == 1


REFUSALS = {
    "a token that may only read": (
        {"writer": "another", "readers": [TOKEN]},
        "your token is not allowed to do that (403)",
    ),
    "a token that nobody knows": ({"writer": "another"}, "the hub does not accept your token (401)"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_by_the_hub_is_one_line(hub, push, case):
    changes, expected = REFUSALS[case]
    for key, value in changes.items():
        setattr(hub, key, value)
    code, _, error = push("distilmbert", "--yes")
    assert code == 2 and expected in error and error.count("\n") == 1 and hub.received == []


def test_missing_repository_and_invalid_id_are_refused(hub, push):
    code, out, error = push("distilmbert", "--to", "org/absent")
    assert code == 2 and out == "" and error.count("\n") == 1
    assert "model org/absent: nothing was pushed: the hub has no such model, or your token cannot see it" in error
    validate_repo_id("org/absent")
    code, _, error = push("distilmbert", "--to", "../../etc")
    assert code == 2 and "that is not the id of a repository" in error and error.count("\n") == 1


def test_missing_network_is_reported_in_one_line(hub, push, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, out, error = push("distilmbert", "--yes")
    assert code == 2 and out == "" and error.count("\n") == 1
    assert "nothing was pushed: ConnectError" in error and "check the network and HF_ENDPOINT" in error


def test_server_error_during_a_push_is_one_line(hub, push):
    hub.take = lambda *_: Answer(500, b"{}")
    code, _, error = push("distilmbert", "--yes")
    assert code == 2 and error.count("\n") == 1 and "nothing was pushed" in error


def test_connection_lost_while_committing_is_one_line(hub, push):
    real = hub.take
    hub.take = lambda path, *rest: NO_ANSWER if "/commit/" in path else real(path, *rest)
    code, _, error = push("distilmbert", "--yes")
    assert code == 2 and error.count("\n") == 1
    assert "check the network and HF_ENDPOINT, and check whether the pull request exists" in error


def test_card_changed_in_the_meantime_is_not_overwritten(hub, push):
    """The commit names its parent: the hub refuses it on main, and starts a pull request from that parent."""
    real = hub.take

    def moved(path: str, *rest) -> Answer:
        if "/commit/" in path:
            hub.commits = {f"models/{MODEL}": "3" * 40}
        return real(path, *rest)

    hub.take = moved
    code, _, error = push("distilmbert", "--yes", "--main")
    assert code == 2 and "the repository has changed in the meantime (412); run the command again" in error
    assert error.count("\n") == 1 and hub.received == []


def test_token_goes_only_to_the_endpoint(hub, push, tmp_path):
    """If the hub redirects a commit to another host, the token is not sent there."""
    got = []
    with serve(tmp_path / "elsewhere") as other:
        other.take = lambda path, query, token, body: got.append(token) or Answer(200, b"{}")
        hub.take = lambda path, *_: Answer(307, b"", {"Location": other.url + path})
        code, _, error = push("distilmbert", "--yes")
    assert code == 2 and error.count("\n") == 1
    assert TOKEN not in "".join(got)


def test_local_model_needs_the_name_of_a_repository(hub, push, results):
    for run in load_runs(results):
        model = run.record.model.model_copy(update={"id": "mine", "origin": "local", "revision": None})
        if run.record.seed == 1 and run.record.model.id == MODEL:
            save_record(run.folder, run.record.model_copy(update={"model": model}))
        else:
            shutil.rmtree(run.folder)
    code, _, error = push("mine")
    assert code == 2 and "it is not from the hub; say where to push it with --to organisation/name" in error
    code, said, _ = push("mine", "--to", MODEL)
    assert code == 0 and f"{MODEL} at " in said


def test_damaged_predictions_and_their_path_are_not_sent(hub, push, results):
    next(results.glob(f"xnli/{MODEL.replace('/', '--')}/*/predictions/es.parquet")).unlink()
    code, out, error = push("distilmbert", "--yes")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "nothing was pushed: " in error and "damaged predictions" in error and "es.parquet" in error
    assert posts(hub) == [] and hub.received == []


HOSTILE = {
    "a mark without its end": "<!-- xeval: begin xnli -->\n",
    "marks in the other order": "<!-- xeval: end xnli -->\n<!-- xeval: begin xnli -->\n",
    "two of them": "<!-- xeval: begin xnli -->\n<!-- xeval: end xnli -->\n" * 2,
    "no YAML": "---\nkey: [1, 2\n---\n",
    "a program": "---\nmodel-index: !!python/object/apply:os.system [touch /tmp/xeval-push]\n---\n",
    "aliases of aliases": "---\na: &a [x, x]\nb: &b [*a, *a]\nmodel-index: [*b, *b]\n---\n",
    "an index that is none": "---\nmodel-index: 3\n---\n",
    "results that are none": "---\nmodel-index:\n- name: x\n  results: 3\n---\n",
    "two indices": "---\nmodel-index: []\nmodel-index: []\n---\n",
    "a list": "---\n- a\n---\n",
    "all on one line": "---\n{model-index: []}\n---\n",
    "a thousand brackets": f"---\na: {'[' * 5000}\n---\n",
    "a control character": "---\na: \x07\n---\n",
    "no UTF-8": b"\xff\xfe\x00",
    "a very large one": "x" * 1_000_001,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_uneditable_card_is_refused_in_one_line(hub, push, tmp_path, case):
    put(tmp_path, HOSTILE[case])
    code, out, error = push("distilmbert", "--yes")
    assert code == 2 and out == "" and error.count("\n") == 1 and "README.md" in error and len(error) < 400
    assert hub.received == []


def test_card_cannot_send_commands_to_the_terminal(hub, push, tmp_path):
    put(tmp_path, "---\nlicense: mit\n---\n\x1b[31mred\x1b]0;title\x07 ##[error]x ‮\n")
    code, said, _ = push("distilmbert")
    assert code == 0 and "red" in said
    assert all(character.isprintable() or character == "\n" for character in said) and "##[" not in said


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_section_keeps_the_cards_newlines(newline):
    card = newline.join(["# A", "text", ""])
    once = with_section(card, "xnli", "# One\n")
    assert once.startswith(card) and once.count("\n") == once.count(newline)
    assert with_section(once, "xnli", "# One\n") == once
    both = with_section(once, "pawsx", "# Two\n")
    assert both.startswith(once) and with_section(both, "xnli", "# Three\n") == both.replace("# One", "# Three")


ENTRIES = """
model-index:
- name: m
  results:
  - task:
      type: t
    source:
      name: xeval
      url: {url}
"""


@pytest.mark.parametrize(
    "card",
    ["", "text\n", "---\n---\ntext\n", "---\nlicense: mit\n---\ntext", "---\nmodel-index: []\n---\n",
     "---\r\nlicense: mit\r\n---\r\ntext\r\n", "---\nmodel-index:\n- name: x\n---\n", CARD],
)  # fmt: skip
def test_results_are_inserted_once_into_any_card(card):
    once = with_results(card, ENTRIES.format(url="https://a"), "https://a")
    assert with_results(once, ENTRIES.format(url="https://a"), "https://a") == once
    twice = with_results(once, ENTRIES.format(url="https://b"), "https://b")
    urls = re.findall("url: (.*?)\r?\n", twice)
    assert urls == ["https://a", "https://b"] and once.endswith(card.split("---")[-1].lstrip("\r\n"))
    index = yaml.safe_load(re.search("---\r?\n(.*?)\n---", twice, re.DOTALL)[1])["model-index"]
    assert sum(len(model.get("results", [])) for model in index) == (3 if card == CARD else 2)


def test_section_that_ends_before_it_begins_is_refused():
    with pytest.raises(XevalError, match=r"README\.md: .*xeval: "):
        with_section("<!-- xeval: end a -->\n", "a", "")


def test_task_with_another_tasks_name_has_no_entries_of_it(hub, push, results):
    for run in load_runs(results):
        save_record(run.folder, run.record.model_copy(update={"labels": ["yes", "maybe", "no"]}))
    code, said, told = push("distilmbert")
    assert code == 0 and "facebook/xnli" not in said and ".eval_results/" not in said
    assert "name a data set on the hub, and this task has none" in said + told
