"""A task whose training language has no test rows: it is trained and selected on, but shown nowhere."""

import pytest
from world import World

from tests.helpers import tiny
from xeval.checks.after.diagnose import diagnose_run
from xeval.definitions.registry import get_task
from xeval.report.formats import Format, render_as
from xeval.report.formats.model_card import Footprint
from xeval.report.matrix import build
from xeval.results.store import load_runs
from xeval.support.errors import DefinitionError, UnknownNameError

ABSENT = ('languages = ["en", "es", "zh"]', 'tests_training_language = false\nlanguages = ["es", "zh"]')


@pytest.fixture
def untested(empty) -> World:
    """A world whose task and data have no English test rows."""
    empty.task_file = tiny.write_task(empty.folder / "tasks", ABSENT)
    rows = {key: own for key, own in tiny.mini_rows().items() if key != ("test", "en")}
    empty.data = tiny.write_hub_layout(empty.folder / "rows", rows)
    return empty


def test_only_the_other_languages_are_tested(untested):
    record = untested.run(overrides={"selection": "english-dev"})
    assert list(record.scores) == ["es", "zh"]
    assert (record.training_language, set(record.data.sha256["train"])) == ("en", {"en"})
    assert record.training.selection_curve


def test_every_report_can_be_written(untested):
    untested.run()
    runs, task = load_runs(untested.results), get_task(str(untested.task_file))
    matrix = build(runs, task.name, None)
    assert (matrix.languages, [row.gap for row in matrix.ours]) == (["es", "zh"], [None])
    for chosen in (Format.MARKDOWN, Format.HTML, Format.LATEX, Format.CSV, Format.JSON, Format.MODEL_CARD):
        assert render_as(chosen, matrix, task, Footprint())
    diagnose_run(runs[0], task, None)


def test_untested_language_cannot_be_requested(untested):
    with pytest.raises(UnknownNameError, match="unknown language of task mini-pairs 'en'"):
        untested.run(languages=["en"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("training_language", "tests_training_language = false\ntraining_language"),
            "among the languages, yet not tested",
        ),
        (('["en", "es", "zh"]', '["es", "zh"]'), "training_language 'en' is not among the languages"),
    ],
)
def test_contradictory_task_is_refused(tmp_path, change, said):
    with pytest.raises(DefinitionError, match=said):
        get_task(str(tiny.write_task(tmp_path, change)))
