"""Checkpoints that were trained elsewhere can be declared seeds of one model, and then make one row."""

import shutil
import statistics

import pytest
from world import LABELS, Notes

from tests.helpers.checkpoints import tiny_model, tiny_tokenizer
from xeval.judging.comparison.named_runs import find_runs
from xeval.judging.gate.bless import bless
from xeval.judging.gate.check import check
from xeval.report import matrix
from xeval.report.formats import markdown
from xeval.report.page import model_section
from xeval.results.configurations import by_configuration
from xeval.results.store import StoredRun, load_runs
from xeval.support.errors import DefinitionError

NAME = "elsewhere/jax-bert"
ONE = {"train": False, "languages": ["en", "es"]}


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> list[str]:
    """Three checkpoints with a head and different weights."""
    folder, tokenizer = tmp_path_factory.mktemp("three"), tiny_tokenizer("bert")
    for name, seed in (("a", 5), ("b", 6), ("c", 7)):
        names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
        tiny_model("bert", len(tokenizer), seed, **names).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return [str(folder / name) for name in "abc"]


def test_three_folders_are_three_seeds_of_one_row(empty, three):
    records = empty.run_all(models=three, seeds_of=NAME, **ONE)
    assert [(record.model.id, record.seed, record.declared) for record in records] == [
        (NAME, 1, "a"),
        (NAME, 2, "b"),
        (NAME, 3, "c"),
    ]
    assert len({record.model.sha256 for record in records}) == 3
    runs = load_runs(empty.results)
    [(configuration, group)] = by_configuration(runs).items()
    assert [run.record.seed for run in group] == [1, 2, 3] and configuration.name() == f"{NAME}, no-train"
    built = matrix.build([better(run) for run in runs], records[0].task, None)
    [row] = built.ours
    values = [100 * (8 + seed) / 12 for seed in (1, 2, 3)]
    assert (row.seeds, row.cells["es"]) == ("3", pytest.approx(statistics.fmean(values)))
    spreads = {line.more[0]: line.cells[1].value for line in model_section.build(row, built).by_language}
    assert spreads == pytest.approx(dict.fromkeys(("en", "es"), statistics.stdev(values)))
    text = markdown.render(built)
    assert f"{NAME} (seed 1 is a, seed 2 is b, seed 3 is c); evaluated as it is, without training" in text
    assert [run.record.seed for run in find_runs(NAME, empty.results)] == [1, 2, 3]


def better(run: StoredRun) -> StoredRun:
    """The run with scores as if it had learnt something: of 12 rows, 8 plus its seed are right."""
    scores = {
        language: score.model_copy(
            update={"value": (8 + run.record.seed) / 12, "totals": {"correct": 8 + run.record.seed, "rows": 12}}
        )
        for language, score in run.record.scores.items()
    }
    return StoredRun(run.folder, run.record.model_copy(update={"scores": scores}))


def test_gate_accepts_declared_seeds(empty, three):
    empty.run_all(models=three, seeds_of=NAME, **ONE)
    runs = [better(run) for run in load_runs(empty.results)]
    baseline = bless(runs)
    [blessed] = baseline.configurations
    assert blessed.seeds == (1, 2, 3) and blessed.trained
    values = [100 * run.record.scores["en"].value for run in runs]
    assert blessed.languages["en"].seed_sd_points == round(statistics.stdev(values), 2)
    assert "the weights are the blessed ones bit for bit" in " ".join(
        f.sentence for f in check(baseline, runs).findings
    )


def test_declaring_seeds_recomputes_nothing(empty, three, request):
    before = empty.run_all(models=three, **ONE)
    assert [record.declared for record in before] == [None] * 3
    notes = Notes()
    request.getfixturevalue("no_prediction")
    after = empty.run_all(models=three, seeds=[11, 12, 13], seeds_of=NAME, reporter=notes, **ONE)
    assert [record.seed for record in after] == [11, 12, 13]
    assert [record.scores for record in after] == [record.scores for record in before]
    assert all("nothing to do" in line for line in notes.lines if "seed 1" in line)
    assert len(by_configuration(load_runs(empty.results))) == 1
    again = empty.run_all(models=three, **ONE)
    assert again == after, "said once, it stays said"


def test_seed_taken_by_another_checkpoint_is_refused(empty, three, request):
    empty.run_all(models=three[:1], seeds_of=NAME, **ONE)
    request.getfixturevalue("no_prediction")
    with pytest.raises(DefinitionError, match=r"^seeds of [^\n]*: seed 1 is already a [^\n]*; give b another number"):
        empty.run_all(models=three[1:2], seeds_of=NAME, **ONE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train": True}, "what is trained here has seeds of its own"),
        ({"seeds": [1, 2]}, "wanted one seed for each of 3 models, none of them twice, got 1, 2"),
        ({"seeds": [1, 2, 2]}, "none of them twice, got 1, 2, 2"),
        ({"seeds_of": "../x"}, "wanted a name of letters, digits"),
    ],
)
def test_invalid_declarations_are_refused(empty, three, options, said):
    with pytest.raises(DefinitionError, match=said):
        empty.run_all(**({"models": three, "seeds_of": NAME} | ONE | options))


def test_copy_of_a_checkpoint_is_not_a_second_seed(empty, three, tmp_path):
    twin = tmp_path / "d"
    shutil.copytree(three[0], twin)
    with pytest.raises(DefinitionError, match="has the same files as a, so they are one seed"):
        empty.run_all(models=[three[0], str(twin)], seeds_of=NAME, **ONE)


def test_no_train_run_has_a_seed_only_if_declared(empty, three):
    plain, declared = (empty.run(models=three[:1], **ONE), empty.run(models=three[:1], seeds_of=NAME, **ONE))
    assert plain.name_of_run == "a no-train"
    assert declared.name_of_run == f"{NAME} no-train seed 1"
