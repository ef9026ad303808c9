"""Each kind of task × each way a file can be wrong: refused in one line that names it, or read correctly."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.kinds.rows import Rows
from xeval.support.errors import DataError

COMMON = """\
name = "wrong-files"
title = "Wrong files"
default_recipe = "hf-2019"
training_language = "en"
languages = ["en", "de"]
licence = "mine"
citation = "Nobody."
source_url = "https://example.org"
"""
ANSWERED = {"question": "Wo ist der Hund?", "context": "Der Hund ist im Garten.", "start": 13, "text": "im Garten"}


def squad(**changes) -> str:
    said = ANSWERED | changes
    asked = {
        "id": "1",
        "question": said["question"],
        "answers": [{"text": said["text"], "answer_start": said["start"]}],
    }
    paragraph = {"context": said["context"], "qas": [asked]}
    return json.dumps({"data": [{"paragraphs": [paragraph]}]}, indent=1, ensure_ascii=False)


def choice(**changes) -> str:
    row = {"premise": "Es regnete.", "question": "effect", "choice1": "Es ist nass.", "choice2": "Es ist heiß."}
    return json.dumps(row | {"label": 0} | changes, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Case:
    """A kind's task and correct files; by fault, the file it replaces, the faulty content and the expected message."""

    keys: str
    files: dict[str, str]
    n_rows: int
    faults: dict[str, tuple[str, str, str]] = field(default_factory=dict)


CASES = {
    "pairs": Case(
        'kind = "pair-classification"\nmetric = "accuracy"\nlabels = ["no", "yes"]\n',
        {"de/test.tsv": "premise\thypothesis\tlabel\nEs regnet.\tEs ist nass.\tyes\nEr schläft.\tEr läuft.\tno\n"},
        2,
        {
            "unequal columns": ("de/test.tsv", "premise\thypothesis\tlabel\nA\tyes\nA\tB\tno\n", "line 2 has 2 fields"),
            "gold out of range": ("de/test.tsv", "premise\thypothesis\tlabel\nA\tB\t2\nA\tC\t0\n", "label"),
        },
    ),
    "sentences": Case(
        'kind = "sentence-classification"\nmetric = "accuracy"\nlabels = ["no", "yes"]\n',
        {"de/test.csv": "text,label\nEs regnet.,yes\nEr schläft.,no\n"},
        2,
        {
            "unequal columns": ("de/test.csv", "text,label\nEs regnet\nA,no\n", "line 2 has 1 field"),
            "gold out of range": ("de/test.csv", "text,label\nA,7\nB,0\n", "label"),
        },
    ),
    "tags": Case(
        'kind = "tagging"\nmetric = "span_f1"\nlabels = ["O", "B-PER", "I-PER"]\n',
        {"test-de.tsv": "Ada\tB-PER\nschläft\tO\n\nGrace\tB-PER\nliest\tO\n"},
        2,
        {
            "empty sentence": (
                "de/test.jsonl",
                '{"tokens": [], "tags": []}\n' * 2,
                "2 of 2 rows have no words (first row 1)",
            ),
            "unequal columns": ("test-de.tsv", "Ada\tB-PER\nschläft\n\nGrace\tO\n", "line 2 has 1 field"),
            "gold out of range": (
                "de/test.jsonl",
                '{"tokens": ["a"], "tags": [3]}\n' * 2,
                "2 of 2 rows have tag 3 (first row 1)",
            ),
        },
    ),
    "answers": Case(
        'kind = "answers"\nmetric = "f1"\n[files]\ntrain = ["x-{language}.json"]\ntest = ["test-{language}.json"]\n',
        {"test-de.json": squad()},
        1,
        {
            "empty sentence": ("test-de.json", squad(context=" "), "row 1 has an empty context"),
            "unequal columns": (
                "test-de.json",
                squad(text=["im Garten", "Garten"]),
                "wanted a text and a whole number",
            ),
            "gold out of range": ("test-de.json", squad(start=99), "at character 99, but its context has 23"),
            "answer elsewhere": ("test-de.json", squad(start=4), "where its context says 'Hund ist '"),
            "answer nowhere": ("test-de.json", squad(text="im Haus"), "an answer 'im Haus' at character 13"),
        },
    ),
    "retrieval": Case(
        'kind = "sentence-retrieval"\nmetric = "accuracy"\n[files]\ntest = ["{language}-en.*"]\n',
        {"de-en.de": "Der Hund.\nDas Glück.\n", "de-en.en": "The luck.\nThe dog.\n", "de-en.gold": "1\n0\n"},
        2,
        {
            "empty sentence": ("de-en.de", "Der Hund.\n\n", "row 2 has an empty sentence"),
            "unequal columns": ("de-en.de", "Der Hund.\n", "wanted as many lines as de-en.en has, 2, got 1"),
            "gold out of range": (
                "de-en.gold",
                "1\n2\n",
                "row 2 has its translation in '2'; wanted a number from 0 to 1",
            ),
        },
    ),
    "mining": Case(
        'kind = "bitext-mining"\nmetric = "f1"\n[files]\ntest = ["{language}-en.*.*"]\n',
        {
            "de-en.dev.de": "de-1\tDer Hund.\nde-2\tDas Glück.\n",
            "de-en.dev.en": "en-1\tThe luck.\nen-2\tThe dog.\n",
            "de-en.dev.gold": "de-1\ten-2\n",
        },
        4,
        {
            "empty sentence": ("de-en.dev.de", "de-1\tDer Hund.\nde-2\t \n", "line 2 is"),
            "unequal columns": ("de-en.dev.en", "en-1 The luck.\nen-2\tThe dog.\n", "line 1 is"),
            "gold out of range": ("de-en.dev.gold", "de-1\ten-7\n", "which is not an English sentence"),
        },
    ),
    "choices": Case(
        'kind = "multiple-choice"\nmetric = "accuracy"\n[files]\ntest = ["test-{language}.jsonl"]\n',
        {"test-de.jsonl": choice() + choice(label=1)},
        2,
        {
            "empty sentence": ("test-de.jsonl", choice() + choice(choice2=""), "row 2 has an empty premise or choice"),
            "unequal columns": ("test-de.jsonl", choice() + '{"premise": "A", "label": 1}\n', "row 2 has no text"),
            "gold out of range": ("test-de.jsonl", choice() + choice(label=2), "row 2 has label 2; wanted 0 to 1"),
        },
    ),
}
OF_EACH = {"unequal columns", "gold out of range"}


def load(folder: Path, case: Case, files: dict[str, bytes]) -> Rows:
    folder.mkdir(exist_ok=True)
    task_file = folder / "wrong-files.toml"
    expected = f"[expected_rows]\n{'' if 'retr' in case.keys or 'min' in case.keys else 'train = 2'}\n"
    task_file.write_text(COMMON + case.keys + expected + f"test = {case.n_rows}\n", encoding="utf-8")
    for name, content in files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    task = get_task(str(task_file))
    return load_rows(open_source(task, folder / "data", ["de"]), "de", "test")


def as_bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


def test_every_kind_has_a_file_for_each_fault():
    assert all(case.faults.keys() >= OF_EACH for case in CASES.values())
    assert {name for name, case in CASES.items() if "empty sentence" not in case.faults} == {"pairs", "sentences"}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("change", ["byte order mark", "CRLF"])
def test_windows_files_are_read_correctly(tmp_path, kind, change):
    case = CASES[kind]
    right = load(tmp_path / "right", case, as_bytes(case.files))
    assert len(right) == case.n_rows
    prefix, line_end = ("\ufeff", "\n") if change == "byte order mark" else ("", "\r\n")
    changed = {name: prefix + text.replace("\n", line_end) for name, text in case.files.items()}
    assert load(tmp_path / "changed", case, as_bytes(changed)).sha256 == right.sha256


@pytest.mark.parametrize(("kind", "fault"), [(kind, fault) for kind, case in CASES.items() for fault in case.faults])
def test_a_wrong_file_is_refused_in_one_line(tmp_path, kind, fault):
    case = CASES[kind]
    name, text, said = case.faults[fault]
    kept = {} if name.endswith(".jsonl") and kind == "tags" else case.files
    with pytest.raises(DataError) as refused:
        load(tmp_path, case, as_bytes(kept | {name: text}))
    message = str(refused.value)
    assert said in message and message.startswith(str(tmp_path / "data" / Path(name).parent))
    assert "\n" not in message and len(message) < 500


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("pairs", "de/test.tsv", "premise\thypothesis\tlabel\nEs regnet.\t\tyes\nEr schläft.\tEr läuft.\tno\n"),
        ("sentences", "de/test.csv", "text,label\n ,yes\nEr schläft.,no\n"),
    ],
)
def test_empty_text_with_a_label_is_only_a_warning(tmp_path, kind, name, text):
    # published copies have some empty texts
    case = CASES[kind]
    rows = load(tmp_path, case, {name: text.encode()})
    assert len(rows) == 2
    of_kind = get_task(str(tmp_path / "wrong-files.toml")).of_kind
    [found] = [found for found in of_kind.row_checks({}, {"de": rows}) if found.name == "empty texts"]
    assert found.severity == "warning" and found.evidence.endswith(" with one: de test 1 (first row 1)")
    right = load(tmp_path, case, as_bytes(case.files))
    assert not [found for found in of_kind.row_checks({}, {"de": right}) if found.name == "empty texts"]


def test_span_without_a_beginning_is_read_unchanged(tmp_path):
    case = CASES["tags"]
    rows = load(tmp_path, case, as_bytes({"test-de.tsv": case.files["test-de.tsv"].replace("B-PER", "I-PER")}))
    assert rows.gold == [["I-PER", "O"], ["I-PER", "O"]]
