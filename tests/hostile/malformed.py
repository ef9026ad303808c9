"""Malformed tasks, recipes, published tables, baselines and records, each with one fault and its place."""

import json
from dataclasses import dataclass

from test_gate import BASELINE

from tests.helpers import tiny
from tests.helpers.sample_record import run_record
from xeval.judging.gate import baseline
from xeval.results.records import RunRecord

TASK = tiny.TASK_TOML + '\n[hub]\nid = "org/data"\nrevision = "' + "0" * 40 + '"\n'

RECIPE = """\
name = "brief"
description = "A recipe"
learning_rate = 5e-5
batch_size = 32
epochs = 2
max_length = 128
warmup_share = 0.1
weight_decay = 0.01
max_grad_norm = 1.0
selection = "last"
evaluate_every_steps = 100
patience = 3
seed = 42
"""

REFERENCE = """\
name = "a-table"
title = "A table"
task = "xnli"
split = "test"
source_url = "https://example.org"
languages = ["en", "es"]

[[rows]]
name = "A row"
model = "org/model"
how = "computed"
recipe = "hf-2019"
n_seeds = 5
claimed_average = 75.0
cells = { en = 80.0, es = 70.0 }
spread = { en = 1.0, es = 2.0 }
"""

VALID = {"task": TASK, "recipe": RECIPE, "reference": REFERENCE, "baseline": baseline.to_toml(BASELINE)}

# Keys that may be left out and that nothing else in the files above needs.
_OPTIONAL = {
    *("label_aliases", "contradictory", "default_reference"),
    *(
        "warmup_share",
        "weight_decay",
        "max_grad_norm",
        "selection",
        "evaluate_every_steps",
        "patience",
        "seed",
        "epochs",
    ),
    *("claimed_average", "spread", "n_seeds"),
}
_WRONG = {  # for each type, values of other types
    "text": ["7", "true", "[]", "{}", "1979-05-27", '""'],
    "number": ['"7"', "true", "[1]", "nan", "-1", "1e400", "9" * 5000],
    "list": ['"en"', "7", "[]", "[[]]", '[""]', '["en", "en"]', "[1, 2]"],
    "table": ['"x"', "7", "[]", '{ "../x" = 1 }', '{ en = "x" }'],
}
_MAY_BE_EMPTY = {"contradictory"}


@dataclass(frozen=True)
class Broken:
    """A file that must be refused, and a word of the message."""

    kind: str
    what: str
    content: bytes
    place: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def _type_of(value: str) -> str:
    return {'"': "text", "[": "list", "{": "table"}.get(value[0], "number")


def _by_line(kind: str) -> list[Broken]:
    """Every line left out, duplicated, and given values of every other type."""
    lines = VALID[kind].splitlines()
    broken = []
    for number, line in enumerate(lines):
        key, equals, value = line.partition(" = ")
        if not equals:
            continue

        def changed(*instead: str, number: int = number) -> bytes:
            return "\n".join([*lines[:number], *instead, *lines[number + 1 :], ""]).encode()

        if key not in _OPTIONAL:
            broken.append(Broken(kind, f"line {number} without {key}", changed(), key))
        broken.append(Broken(kind, f"line {number}, {key} twice", changed(line, line), "line "))
        for wrong in _WRONG[_type_of(value)]:
            if wrong == '""' and key in _MAY_BE_EMPTY:
                continue
            place = {"9": "integer", "1979-05-27": "dates"}.get(wrong[:1] if wrong[0] == "9" else wrong, key)
            broken.append(Broken(kind, f"line {number}, {key} = {wrong[:12]}", changed(f"{key} = {wrong}"), place))
    return broken


# (kind, what is wrong, old text, new text, a word of the message)
_EDITS = [
    ("task", "unknown key", 'title = "Mini pairs"', 'title = "x"\ntitel = "x"', "titel"),
    ("task", "unknown table", "[hub]", "[hbu]", "hbu"),
    ("task", "unknown key in a table", "train = 24", "train = 24\ntrane = 24", "expected_rows.trane"),
    ("task", "no rows", "test = 12", "test = 0", "expected_rows.test"),
    ("task", "fewer rows than none", "test = 12", "test = -12", "expected_rows.test"),
    ("task", "another kind", '"pair-classification"', '"pair-classificaton"', "kind"),
    ("task", "a metric of its own", '"accuracy"', '"./metric.py"', "metric"),
    ("task", "name with a way out", '"mini-pairs"', '"../mini"', "name"),
    ("task", "name of a thousand characters", '"mini-pairs"', f'"{"m" * 1000}"', "name"),
    ("task", "title of a hundred thousand characters", '"Mini pairs"', f'"{"m" * 100_000}"', "title"),
    ("task", "language with a way out", '["en", "es", "zh"]', '["en", "../es"]', "languages"),
    ("task", "language with a control character", '["en", "es", "zh"]', '["en", "e\\u0007s"]', "languages"),
    ("task", "a thousand languages", '["en", "es", "zh"]', json.dumps([f"x-{n}" for n in range(1000)]), "languages"),
    ("task", "training language that is not listed", 'training_language = "en"', 'training_language = "de"', "'de'"),
    ("task", "one label", '["entailment", "neutral", "contradiction"]', '["entailment"]', "labels"),
    ("task", "a label twice", '["entailment", "neutral", "contradiction"]', '["a", "a"]', "label"),
    ("task", "alias of no label", 'contradictory = "contradiction"', 'contradictory = "maybe"', "contradictory"),
    ("task", "revision that is a branch", "0" * 40, "main", "hub.revision"),
    ("task", "hub id with a way out", '"org/data"', '"../../etc"', "hub.id"),
    ("task", "hub id of three parts", '"org/data"', '"a/b/c"', "hub.id"),
    ("recipe", "unknown key", "seed = 42", "sead = 42", "sead"),
    ("recipe", "learning rate of zero", "learning_rate = 5e-5", "learning_rate = 0.0", "learning_rate"),
    ("recipe", "learning rate above one", "learning_rate = 5e-5", "learning_rate = 5.0", "learning_rate"),
    ("recipe", "no batch", "batch_size = 32", "batch_size = 0", "batch_size"),
    ("recipe", "batch of a billion", "batch_size = 32", "batch_size = 1_000_000_000", "batch_size"),
    ("recipe", "half a pair", "batch_size = 32", "batch_size = 0.5", "batch_size"),
    ("recipe", "a million epochs", "epochs = 2", "epochs = 1_000_000", "epochs"),
    ("recipe", "no end", "epochs = 2", "", "epochs"),
    ("recipe", "a million pieces", "max_length = 128", "max_length = 1_000_000", "max_length"),
    ("recipe", "warm-up of everything", "warmup_share = 0.1", "warmup_share = 1.0", "warmup_share"),
    ("recipe", "no gradient", "max_grad_norm = 1.0", "max_grad_norm = 0.0", "max_grad_norm"),
    ("recipe", "infinite gradient", "max_grad_norm = 1.0", "max_grad_norm = inf", "max_grad_norm"),
    ("recipe", "another selection", '"last"', '"best"', "selection"),
    ("recipe", "seed beyond 32 bits", "seed = 42", "seed = 4294967296", "seed"),
    ("recipe", "rate for a model with a way out", "seed = 42", 'learning_rate_by_model = { "../x" = 1e-5 }', "../x"),
    ("reference", "unknown key", 'title = "A table"', 'title = "x"\nauthor = "x"', "author"),
    ("reference", "unknown key in a row", "n_seeds = 5", "n_seeds = 5\nseeds = 5", "rows.0.seeds"),
    ("reference", "cell above a hundred", "en = 80.0", "en = 180.0", "cells.en"),
    ("reference", "cell that is text", "en = 80.0", 'en = "80"', "cells.en"),
    ("reference", "cell that is no number", "en = 80.0", "en = nan", "cells.en"),
    ("reference", "language outside the table", '["en", "es"]', '["en"]', "'es'"),
    ("reference", "average that is none", "claimed_average = 75.0", "claimed_average = 57.0", "57.0"),
    ("reference", "spread of one seed", "n_seeds = 5", "n_seeds = 1", "n_seeds"),
    ("reference", "spread of other languages", "{ en = 1.0, es = 2.0 }", "{ en = 1.0 }", "spread"),
    ("reference", "no rows", "[[rows]]", "[rows]", "rows"),
    ("baseline", "another format", "format = 1", "format = 2", "format"),
    ("baseline", "unknown key", "format = 1", "format = 1\nformats = 1", "formats"),
    ("baseline", "unknown key inside", "trained = true", "trained = true\ntrain = 1", "configurations.0.train"),
    ("baseline", "no task", 'task = "cats"\n', "", "configurations.0.task"),
    ("baseline", "no counts", ", n_correct = [3480, 3505, 3515]", "", "languages.es: wanted"),
    ("baseline", "more correct than there are", "[3480, 3505, 3515]", "[9480, 3505, 3515]", "languages.es"),
    ("baseline", "fewer correct than none", "[3480, 3505, 3515]", "[-3480, 3505, 3515]", "languages.es.n_correct"),
    ("baseline", "accuracy that the counts do not give", "accuracy_percent = 70.0", "accuracy_percent = 71.0", "71.0"),
    ("baseline", "accuracy that is text", "accuracy_percent = 70.0", 'accuracy_percent = "70"', "accuracy_percent"),
    ("baseline", "accuracy above a hundred", "accuracy_percent = 70.0", "accuracy_percent = 170.0", "accuracy_percent"),
    ("baseline", "counts of fewer seeds", "[3480, 3505, 3515]", "[3480, 3520]", "languages.es"),
    ("baseline", "a seed twice", "seeds = [1, 2, 3]", "seeds = [1, 2, 2]", "configurations.0"),
    ("baseline", "language with a way out", "es = {", '"../es" = {', "../es"),
    ("baseline", "speed of nothing", "[99.01, 98.04, 97.09]", "[0.0, 98.04, 97.09]", "throughput_pairs_per_s"),
    ("baseline", "truth that is text", "trained = true", 'trained = "true"', "trained"),
    ("baseline", "no configuration", "[[configurations]]", "[[configuration]]", "configuration"),
    ("reference", "name with a line break", '"a-table"', '"a\\ntable"', "name"),
]  # fmt: skip


def _edited() -> list[Broken]:
    broken = []
    for kind, what, old, new, place in _EDITS:
        assert VALID[kind].count(old) == 1 or what == "no rows", (kind, what)
        broken.append(Broken(kind, what, VALID[kind].replace(old, new, 1).encode(), place))
    return broken


def _not_even_text(kind: str, comment: str) -> list[Broken]:
    """Files that fail before their content can be checked."""
    valid = VALID[kind].encode()
    deep = b"[" * 20_000
    most = 50_000_000 if kind == "baseline" else 1_000_000  # bytes; the others are written by hand
    return [
        Broken(kind, what, content, place)
        for what, content, place in [
            ("empty", b"", ""),
            ("blank", b"\n \t\n", ""),
            ("only a comment", comment.encode(), ""),
            ("cut", valid[: len(valid) // 3], ""),
            ("broken UTF-8", valid.replace(b"e", b"\xe9", 1), "byte"),
            ("UTF-16", VALID[kind].encode("utf-16"), "byte"),
            ("binary", bytes(range(256)) * 4, "byte"),
            ("a null byte", valid.replace(b"\n", b"\0\n", 1), "line 1"),
            ("an escape sequence", valid.replace(b"\n", b"\x1b[31m\n", 1), "line 1"),
            ("HTML", b"<!doctype html><title>404</title>\n", "line 1"),
            ("JSON", b'{"name": "x"}\n', "line 1"),
            ("YAML", b"name: x\nlabels:\n  - a\n", "line 1"),
            ("a merge conflict", b"<<<<<<< HEAD\n" + valid, "line 1"),
            ("deep lists", b"a = " + deep + b"]" * 20_000, ""),
            ("deep lists without an end", b"a = " + deep, ""),
            ("deep tables", b"a = " + b"{ a = " * 5_000 + b"1" + b" }" * 5_000, ""),
            ("deep keys", b".".join([b"a"] * 50_000) + b" = 1\n", ""),
            ("a number of a hundred thousand digits", b"a = " + b"9" * 100_000, ""),
            ("too large", valid + b"# " + b"x" * most, f"{most:,} bytes"),
        ]
    ]


def _records() -> list[Broken]:
    """Records with one value replaced; their checksums are right."""
    whole = json.loads(run_record().model_dump_json())
    replaced = {
        "schema_version": [0, 4, "2", None],
        "identity": ["a" * 63, "A" * 64, 7, None],
        "status": ["done", None],
        "task": [7, None],
        "model": ["m", None, []],
        "model.origin": ["stolen", None],
        "model.sha256": ["../../x", None],
        "model.n_parameters": ["12", 1.5],
        "recipe.values": [None, [], {"epochs": [2]}, {"epochs": {"a": 1}}],
        "seed": ["3", 3.5, True, None],
        "limits.max_train": ["10", 1.5],
        "data.sha256": [None, {"test": {"de": "x"}}, {"test": "x"}],
        "training.loss_curve": [[[1]], [["a", 1.0]], None, 7],
        "training.chosen_step": ["4", None],
        "scores": [None, [], {"de": None}, {"de": 0.5}],
        "scores.de.value": [1.5, -0.1, "0.5", None],
        "scores.de.n_rows": ["3", 1.5, None],
        "scores.de.ci95": [[2, 1], [0.5], None],
        "scores.de.predictions_sha256": ["../../etc/passwd", None],
        "timing": [None, {"train": 1.5}, {"train": {"wall_s": "x", "rows": 1}}],
        "invocations": [None, {"x": {}}],
        "failures": [None, {"train": "x"}],
    }
    broken = []
    for place, values in replaced.items():
        *way, last = place.split(".")
        for value in values:
            content = json.loads(json.dumps(whole))
            inner = content
            for key in way:
                inner = inner[key]
            inner[last] = value
            broken.append(Broken("record", f"{place} = {json.dumps(value)[:40]}", json.dumps(content).encode(), place))
    for key, field in RunRecord.model_fields.items():
        if field.is_required():
            content = json.dumps({name: value for name, value in whole.items() if name != key}).encode()
            broken.append(Broken("record", f"no {key}", content, key))
    text = run_record().model_dump_json(indent=1)
    for what, content in [
        ("empty", b""),
        ("cut", text.encode()[:500]),
        ("twice", text.encode() * 2),
        ("broken UTF-8", text.encode().replace(b"cats", b"c\xe4ts")),
        ("UTF-16", text.encode("utf-16")),
        ("binary", bytes(range(256))),
        ("a list", b"[]"),
        ("null", b"null"),
        ("a number", b"7"),
        ("not a number", text.encode().replace(b'"seed": 3', b'"seed": NaN')),
        ("unknown key", text.encode().replace(b'"seed": 3', b'"seed": 3, "sead": 3')),
        ("deep lists", b"[" * 100_000),
        ("deep objects", b'{"a":' * 100_000),
        ("a control character", text.encode().replace(b"cats", b"c\x00ts")),
    ]:
        broken.append(Broken("record", what, content, ""))
    return broken


FILES = [
    *(broken for kind in ("task", "recipe", "reference") for broken in _by_line(kind)),
    *_edited(),
    *(broken for kind in VALID for broken in _not_even_text(kind, "# nothing\n")),
    *_records(),
]
