"""Broken prediction files for every kind of task, each recognised in one line.

test_score_given.py has more of them for pairs.
"""

import json
from pathlib import Path

import pytest

from xeval.runs.score_given import score_given
from xeval.support.errors import XevalError

SENTENCES = [["DET", "NOUN", "VERB"], ["PRON", "VERB"], ["NOUN", "ADP", "DET", "NOUN"]]
NAMES = [["B-LOC", "O"], ["B-PER", "I-PER", "O"]]
QUESTIONS = {f"q{number}": f"answer {number}" for number in range(24)}
PAIRS = ["de-1\ten-1", "de-2\ten-2", "de-3\ten-3"]


def tagged(sentences: list[list[str]]) -> str:
    return "\n\n".join("\n".join(tags) for tags in sentences) + "\n"


def squad(answers: dict[str, str]) -> str:
    paragraphs = [
        {
            "context": f"Here it says: {text}.",
            "qas": [{"id": name, "question": "?", "answers": [{"text": text, "answer_start": 14}]}],
        }
        for name, text in answers.items()
    ]
    return json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]})


# By task: the file of right answers, which also serves as a prediction file except for questions.
KEYS = {
    "xnli": ("test-de.tsv", "\n".join(["neutral", "entailment", "contradiction"] * 4)),
    "paws-x": ("test-de.tsv", "\n".join("0110101001")),
    "udpos": ("test-de.tsv", tagged(SENTENCES)),
    "pan-x": ("test-de.tsv", tagged(NAMES)),
    "xquad": ("test-de.json", squad(QUESTIONS)),
    "tatoeba": ("test-de.tsv", "\n".join("2013")),
    "bucc2018": ("test-de.tsv", "\n".join(PAIRS)),
    "xcopa": ("test-it.tsv", "\n".join("010110")),
}
XNLI = KEYS["xnli"][1].split("\n")
PAWS = KEYS["paws-x"][1].split("\n")
SAID = json.dumps(QUESTIONS)
OTHER_TEXTS = json.dumps({name: f"Antwort {name}" for name in QUESTIONS})
NUMBERED = "row\tprediction\n" + "\n".join(f"{row}\t{label}" for row, label in enumerate(XNLI))

# What is broken → task, name and content of the file, and part of the message.
BROKEN = {
    "the same file twice over": ("xnli", "de.txt", "\n".join([*XNLI, *XNLI]), "wanted 12 predictions, one for each"),
    "the first line twice": ("xnli", "de.txt", "\n".join([XNLI[0], *XNLI]), "found 13"),
    "half of it": ("xnli", "de.txt", "\n".join(XNLI[:6]), "found 6"),
    "a header in the middle": (
        "xnli", "de.tsv", NUMBERED.replace("5\tcontra", "row\tprediction\n5\tcontra"), "row number 'row'",
    ),
    "numbers with a decimal point": ("xnli", "de.tsv", NUMBERED.replace("\n3\t", "\n3.0\t"), "row number '3.0'"),
    "an empty cell": ("xnli", "de.tsv", NUMBERED.replace("3\tneutral", "3\t"), "prediction 4 is ''"),
    "not a number": ("xnli", "de.tsv", NUMBERED.replace("3\tneutral", "3\tnan"), "prediction 4 is 'nan'"),
    "vertical bars": ("xnli", "de.csv", NUMBERED.replace("\t", "|"), "no column 'prediction' in its first line"),
    "a quotation mark left open": (
        "xnli", "de.tsv", NUMBERED.replace("3\tneutral", '3\t"neutral'), "prediction 4 is '\"neutral'",
    ),
    "an encoding in the middle": ("xnli", "de.txt", b"neutral\n" * 5 + b"\xe9\n", "line 6 is not UTF-8"),
    "UTF-16 without its mark": ("xnli", "de.txt", "\n".join(XNLI).encode("utf-16-le"), "looks like UTF-16"),
    "a mark of UTF-8 in the middle": (
        "xnli", "de.txt", "\n".join([*XNLI[:6], f"\ufeff{XNLI[6]}", *XNLI[7:]]), r"prediction 7 is '\ufeffneutral'",
    ),
    "NUL bytes": ("xnli", "de.txt", "\n".join(["neutral\0", *XNLI[1:]]), "line 1 has a NUL byte"),
    "compressed": ("xnli", "de.txt", b"\x1f\x8b\x08\x00\x00", "compressed"),
    "a page of HTML": ("xnli", "de.txt", "<!doctype html>\n" + "<p>404</p>\n" * 11, "is '<!doctype html>'"),
    "labels in another language": ("xnli", "de.txt", "\n".join(["neutral"] * 11 + ["Widerspruch"]), "'Widerspruch'"),
    "labels of another task": ("paws-x", "de.txt", "\n".join(XNLI[:10]), "prediction 1 is 'neutral'; wanted one of"),
    "classes counted from 1": (
        "paws-x", "de.txt", "\n".join(str(1 + int(each)) for each in PAWS), "prediction 2 is '2'; wanted one of",
    ),
    "probabilities of one class": ("paws-x", "de.txt", "0.3\n" * 10, "prediction 1 is '0.3'"),
    "a name that contradicts its column": (
        "xnli", "de.tsv", "language\tprediction\n" + "".join(f"fr\t{label}\n" for label in XNLI),
        "its name says de, but its column language says fr",
    ),
    "two columns of row numbers": (
        "xnli", "de.tsv",
        "index\trow\tprediction\n" + "".join(f"{row}\t{11 - row}\t{label}\n" for row, label in enumerate(XNLI)),
        "columns row and index differ",
    ),
    "a sentence left out": ("udpos", "de.tsv", tagged(SENTENCES[:2]), "wanted 3 predictions"),
    "sentences run together": ("udpos", "de.tsv", tagged(SENTENCES).replace("\n\n", "\n"), "found 1"),
    "another tokenization": (
        "udpos", "de.tsv", tagged([*SENTENCES[:2], ["NOUN", "ADP", "NOUN", "NOUN", "NOUN"]]),
        "sentence 3 has 4 words in the data, and 5 tags here",
    ),
    "a sentence cut off": (
        "udpos", "de.tsv", tagged([["DET", "NOUN"], *SENTENCES[1:]]), "sentence 1 has 3 words in the data, and 2 tags",
    ),
    "sentences in another order": ("udpos", "de.tsv", tagged(SENTENCES[::-1]), "sentence 1 has 3 words in the data"),
    "a tag that there is not": (
        "udpos", "de.tsv", tagged(SENTENCES).replace("PRON", "PRO"), "sentence 2 has 'PRO'; wanted one of",
    ),
    "another scheme of tags": (
        "pan-x", "de.tsv", tagged(NAMES).replace("B-LOC", "S-LOC"), "sentence 1 has 'S-LOC'; wanted one of",
    ),
    "tag and word exchanged": (
        "pan-x", "de.tsv", "B-LOC\tRom\nO\tist\n\nB-PER\tAnna\nI-PER\tRot\nO\tkam\n", "sentence 1 has 'Rom'; wanted",
    ),
    "tags without their prefix": ("pan-x", "de.tsv", tagged(NAMES).replace("B-", ""), "sentence 1 has 'LOC'"),
    "a question left out": (
        "xquad", "de.json", SAID.replace('"q3": "answer 3", ', ""), "1 of 24 rows have no prediction, first 'q3'",
    ),
    "a question that is not there": (
        "xquad", "de.json", SAID.replace('"q3"', '"x3"'), "an id that no row of the data has, first 'x3'",
    ),
    "a question answered twice": (
        "xquad", "de.json", SAID.replace('"q3"', '"q2"'), "names that occur twice: 1, first 'q2'",
    ),
    "no answer": ("xquad", "de.json", SAID.replace('"answer 3"', "null"), "prediction 4 is None; wanted a text"),
    "the best n answers": (
        "xquad", "de.json", SAID.replace('"answer 0"', '[{"text": "answer 0"}]'), "prediction 1 is [{'text'",
    ),
    "another language's answers": ("xquad", "de.json", OTHER_TEXTS, "Are they in another language?"),
    "the right answers' file": ("xquad", "de.json", squad(QUESTIONS), "holds questions; wanted answers by id"),
    "JSON cut off": ("xquad", "de.json", SAID[:-9], "not readable as JSON"),
    "a list of answers": ("xquad", "de.json", json.dumps(list(QUESTIONS.values())), "wanted answers by id"),
    "answers a line": ("xquad", "de.txt", "\n".join(QUESTIONS.values()), "not readable as JSON"),
    "a line and a half": ("tatoeba", "de.tsv", "1.5\n0\n1\n2", "prediction 1 is '1.5'; wanted the number"),
    "a line below 0": ("tatoeba", "de.tsv", "-1\n0\n1\n2", "prediction 1 is '-1'; wanted the number of a row"),
    "a sentence for its number": ("tatoeba", "de.tsv", "Guten Tag.\n0\n1\n2", "prediction 1 is 'Guten Tag.'"),
    "a pair parted by a space": ("bucc2018", "de.tsv", "de-1 en-1\nde-2 en-2\n", "with a tab between"),
    "a score with each pair": ("bucc2018", "de.tsv", "de-1\ten-1\t0.9\n", "line 1 has 3 fields"),
    "a sentence in two pairs": ("bucc2018", "de.tsv", "\n".join([*PAIRS, "de-1\ten-3"]), "pairs 'de-1' a second time"),
    "English first": (
        "bucc2018", "de.tsv", "\n".join("\t".join(reversed(pair.split("\t"))) for pair in PAIRS), "English first",
    ),
    "a choice that there is not": ("xcopa", "it.tsv", "\n".join("010112"), "prediction 6 is '2'; wanted one of 0, 1"),
    "choices counted from 1": ("xcopa", "it.tsv", "\n".join("121221"), "prediction 2 is '2'; wanted one of 0, 1"),
}  # fmt: skip


def scored(folder: Path, task: str, name: str, content: str | bytes):
    key, right = KEYS[task]
    for part, file, text in (("labels", key, right), ("given", name, content)):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return score_given(
        task, folder / "given", labels=folder / "labels", model="somebody", results=folder / "results"
    ).record


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_predictions_are_refused_in_one_line(fault, tmp_path):
    *broken, message = BROKEN[fault]
    with pytest.raises(XevalError) as caught:
        scored(tmp_path, *broken)
    said = str(caught.value)
    assert message in said and "\n" not in said and len(said) < 700
    assert str(tmp_path / "given") in said or "given" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("task", KEYS)
def test_unbroken_predictions_are_accepted(task, tmp_path):
    name, right = KEYS[task]
    record = scored(tmp_path, task, name, SAID if task == "xquad" else right)
    assert {score.value for score in record.scores.values()} == {1.0}
