"""`xeval compare RUN --selection`: one training's checkpoints by English dev, last, and the oracle (not a result)."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from tests.helpers.paired_answers import N_LABELS, answers_with, paired_difference, write_run
from tests.helpers.predictions import answers_of
from tests.helpers.sample_record import SHA
from xeval.judging.comparison.resampling import paired_mean_difference
from xeval.judging.comparison.selection import compare_selection, load_selection
from xeval.report.comparison import selection
from xeval.results.candidates import GatheredPredictions, checkpoints_of
from xeval.results.records import RecipeRecord, SelectionPoint, TrainingRecord
from xeval.results.store import StoredRun
from xeval.support.errors import DataError, StoreError

N = 90
LABELS, GROUPS = np.arange(N) % 3, np.repeat(np.arange(N // 3), 3)
RNG = np.random.default_rng(7)
STEPS = (10, 20, 30)
DEV = (0.9, 0.8, 0.9)  # the first and the last are equal, so the first is chosen
SHARES = {"en": (0.9, 0.85, 0.8), "de": (0.5, 0.75, 0.6), "ur": (0.6, 0.4, 0.5)}
RIGHT = {(step, lang): RNG.random(N) < own[i] for lang, own in SHARES.items() for i, step in enumerate(STEPS)}


def training(dev=DEV) -> TrainingRecord:
    return TrainingRecord(
        n_steps=30,
        effective_batch_size=8,
        loss_curve=[(30, 0.5)],
        selection="english-dev",
        selection_curve=[SelectionPoint(step=step, value=own) for step, own in zip(STEPS, dev, strict=True)],
        chosen_step=10,
        weights_sha256=SHA,
    )


def write(folder, right=RIGHT, dev=DEV, rows_sha256=SHA, at_checkpoints=("en", "de", "ur"), **changes):
    """A run whose scores are those of step 10, with its checkpoints."""
    answers = {language: answers_with(LABELS, right[10, language]) for language in SHARES}
    run = write_run(folder / "results", answers, LABELS, GROUPS, training=training(dev), **changes)
    gathered = GatheredPredictions(folder / "gathered")
    gathered.clear()
    for step in STEPS:
        gathered.start(step, f"{step:064}")
        for language in at_checkpoints:
            answers = answers_of(
                np.eye(N_LABELS, dtype=np.float32)[answers_with(LABELS, right[step, language])], LABELS
            )
            tally = np.stack([right[step, language], np.ones(len(LABELS))], axis=1)
            gathered.add(step, language, answers, tally, GROUPS, float(tally[:, 0].mean()), rows_sha256)
    gathered.seal(STEPS, at_checkpoints, SHA, run.folder)
    return run


@pytest.fixture
def found(tmp_path):
    return compare_selection(load_selection([write(tmp_path)]), seed=5)


def accuracy(step, language) -> float:
    return float(RIGHT[step, language].mean())


def test_selection_by_english_dev_and_by_oracle(found):
    [choice] = found.choices
    assert (choice.dev_step, choice.dev_value, choice.last_step, choice.steps) == (10, 0.9, 30, list(STEPS))
    for one, oracle in zip(found.last_minus_dev.languages, found.oracle, strict=True):
        language = one.language
        assert (one.value_a, one.value_b) == (accuracy(10, language), accuracy(30, language))
        slow = max((accuracy(step, language), -step) for step in STEPS)
        assert (oracle.value, oracle.steps) == (slow[0], [-slow[1]])
        assert oracle.difference == pytest.approx(slow[0] - accuracy(10, language))
        assert oracle.values == [[accuracy(step, language) for step in STEPS]]
    assert found.oracle[1].steps == [20]


def test_no_checkpoint_exceeds_the_oracle(tmp_path):
    for number in range(20):
        rng = np.random.default_rng(number)
        right = {key: rng.random(N) < 0.6 for key in RIGHT}
        comparison = compare_selection(load_selection([write(tmp_path, right, dev=rng.random(3).tolist())]))
        best = {own.language: own.value for own in comparison.oracle}
        for (_, language), own in right.items():
            assert own.mean() <= best[language]
        assert all(own.difference >= 0 for own in comparison.oracle)


def test_last_and_english_dev_are_compared_by_premise(found):
    for one in found.last_minus_dev.languages:
        expected = paired_difference(RIGHT[10, one.language], RIGHT[30, one.language], GROUPS, 5)
        assert one.interval == expected
    assert found.last_minus_dev.resampled == "premises"


def test_target_mean_leaves_out_english(tmp_path, found):
    rows = [one.rows for one in load_selection([write(tmp_path)]).pair.languages if one.language != "en"]
    assert found.target_mean == paired_mean_difference(rows, 5)
    assert found.target_mean.difference == pytest.approx(
        np.mean([accuracy(30, code) - accuracy(10, code) for code in ("de", "ur")])
    )


def test_seeds_choose_separately_and_are_averaged(tmp_path):
    other = {key: np.roll(right, 7) | (np.arange(N) < 5) for key, right in RIGHT.items()}
    runs = [write(tmp_path, seed=1), write(tmp_path, other, dev=(0.1, 0.2, 0.3), seed=2)]
    comparison = compare_selection(load_selection(runs))
    assert [(choice.seed, choice.dev_step) for choice in comparison.choices] == [(1, 10), (2, 30)]
    for one, oracle in zip(comparison.last_minus_dev.languages, comparison.oracle, strict=True):
        own = [right[step, one.language].mean() for right, step in ((RIGHT, 10), (other, 30))]
        assert one.value_a == pytest.approx(np.mean(own))
        best = [max(right[step, one.language].mean() for step in STEPS) for right in (RIGHT, other)]
        assert oracle.value == pytest.approx(np.mean(best)) and len(oracle.steps) == 2
    [header] = [line for line in printed(comparison).splitlines() if "oracle*" in line and "Holm" in line]
    assert header.split()[-1] == "dev" and ", mean of seeds 1, 2; " in " ".join(printed(comparison).split())


# ── what it shows ──


def printed(found) -> str:
    console = Console(width=80, file=io.StringIO(), highlight=False)
    selection.show(found, None, console)
    return console.file.getvalue()


def test_the_table_fits_80_columns(found):
    lines = printed(found).splitlines()
    assert max(map(len, lines)) <= 80
    [de] = [line.split() for line in lines if line.startswith("de ")]
    dev, last, best = (f"{100 * accuracy(step, 'de'):.1f}" for step in (10, 30, 20))
    assert de[:2] == [dev, last] or de[1:3] == [dev, last]
    assert de[-3] == best and de[-1] == "20"
    assert any(line.startswith("mean of 3 ") for line in lines) and any(
        line.startswith("without en ") for line in lines
    )


@pytest.mark.parametrize("show", [printed, lambda found: selection.markdown(found, None)], ids=["terminal", "markdown"])
def test_oracle_is_marked_not_zero_shot_above_and_below(found, show):
    text = " ".join(show(found).replace("\\", "").split())
    assert text.count("NOT zero-shot") >= 2 and "is not zero-shot" in text and "oracle*" in text
    header, footnotes = text.index("95 % interval Holm") if show is printed else text.index("Holm"), text.rindex("NOT")
    assert text.index("NOT zero-shot") < header < footnotes


def test_json_marks_the_oracle_not_zero_shot(found):
    content = json.loads(selection.as_json(found, None))
    assert content["oracle_is"].startswith("NOT zero-shot") and content["model"] == "org/m"
    assert content["oracle"][1]["accuracy"] == accuracy(20, "de")
    assert content["last_minus_dev"]["languages"][1]["interval"]["seed"] == 5


def test_conclusion_says_if_english_dev_chose_the_last(tmp_path):
    comparison = compare_selection(load_selection([write(tmp_path, dev=(0.1, 0.2, 0.3))]))
    assert comparison.conclusion.startswith(
        "English dev chose the last checkpoint. No choice among these checkpoints can"
    )
    assert comparison.last_minus_dev.mean.difference == 0


def test_hostile_names_stay_text(tmp_path):
    comparison = compare_selection(load_selection([write(tmp_path, model="org/<b>|x|[red]\x1b[31m")]))
    assert "<b>" not in selection.markdown(comparison, None)
    assert "\x1b" not in printed(comparison) and "org/<b>|x|[red]" in printed(comparison)


# ── what is refused, and what is left out ──


def test_languages_without_checkpoint_scores_are_left_out(tmp_path):
    comparison = compare_selection(load_selection([write(tmp_path, at_checkpoints=("en", "de"))]))
    assert [own.language for own in comparison.oracle] == ["en", "de"]
    [note] = comparison.last_minus_dev.notes
    assert "left out: ur" in note and "--every-checkpoint" in note


def test_checkpoints_scored_on_other_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"^[^\n]*not evaluated on the same en rows as the run[^\n]*$"):
        load_selection([write(tmp_path, rows_sha256="b" * 64)])


def test_a_run_without_training_has_nothing_to_choose(tmp_path):
    answers = {"en": answers_with(LABELS, RIGHT[10, "en"])}
    with pytest.raises(StoreError, match="nothing was trained"):
        load_selection([write_run(tmp_path, answers, LABELS, GROUPS, training=None)])


def test_the_command_shows_the_table_in_three_formats(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path).folder
    code, out, err = command("compare", "org/m", "--selection", "--seed", "3")
    assert (code, err) == (0, "") and "oracle*" in out and "seed 3" in " ".join(out.split())
    code, out, _ = command("compare", folder, "--selection", "--format", "markdown", "--flips", "de")
    assert code == 0 and "oracle" in out and "Rows in de that only one" in out
    code, out, _ = command("compare", folder, "--selection", "--format", "json", "--flips", "de")
    n_flips = int((RIGHT[10, "de"] != RIGHT[30, "de"]).sum())
    assert len(json.loads(out)["flips"]["rows"]) == n_flips


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("org/m", "org/m", "--selection"), "leave out B"),
        (("org/m",), "Missing argument 'B'"),
        (("org/m", "--selection"), "this run has kept only the chosen checkpoint; xeval run with --every"),
    ],
)
def test_refusals_exit_with_2_and_one_line(command, tmp_path, monkeypatch, words, complaint):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path).folder
    for path in sorted(checkpoints_of(folder).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    checkpoints_of(folder).rmdir()
    code, out, err = command("compare", *words)
    assert (code, out) == (2, "") and complaint in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("better", [10, 30])
def test_conclusion_names_the_better_checkpoint(tmp_path, better):
    right = {(step, lang): np.arange(N) < (81 if step == better else 45) for step, lang in RIGHT}
    comparison = compare_selection(load_selection([write(tmp_path, right)]))
    ahead, behind = "English dev's checkpoint", "the last checkpoint"
    if better == 30:
        ahead, behind = "The last checkpoint", "English dev's checkpoint"
    assert comparison.conclusion.startswith(f"{ahead} is better than {behind} by {100 * (81 - 45) / N:.1f} points")


def test_oracle_takes_the_first_of_equal_checkpoints(tmp_path):
    comparison = compare_selection(load_selection([write(tmp_path, dict.fromkeys(RIGHT, np.arange(N) < 40))]))
    assert [own.steps for own in comparison.oracle] == [[10]] * 3


def test_number_of_checkpoints_is_said_once_for_several_seeds(tmp_path):
    one = " ".join(printed(compare_selection(load_selection([write(tmp_path)]))).split())
    assert "its own test labels, of 3. It is an upper bound" in one
    runs = [write(tmp_path, seed=1), write(tmp_path, seed=2)]
    assert "its own test labels, of 3 of each seed. It is" in " ".join(
        printed(compare_selection(load_selection(runs))).split()
    )


def test_dev_is_named_after_the_language_trained_on(tmp_path):
    run = write(tmp_path, training_language="de")
    comparison = compare_selection(load_selection([run]))
    assert "German dev's checkpoint and the last" in comparison.conclusion
    assert "No choice among these checkpoints can exceed German dev's by" in comparison.conclusion
    assert "English" not in printed(comparison) and comparison.last_minus_dev.name_a == "German dev"


def test_title_of_a_selection_names_the_configuration(tmp_path):
    run, recipe = write(tmp_path), RecipeRecord(name="r", values={}, overrides={"learning_rate": 3e-5})
    run = StoredRun(run.folder, run.record.model_copy(update={"recipe": recipe}))
    comparison = compare_selection(load_selection([run]))
    title = "which checkpoint of one training run? org/m, r, learning_rate 3e-05, seed 1; accuracy in %"
    assert title in " ".join(printed(comparison).split())
    assert title in selection.markdown(comparison, None)
    assert json.loads(selection.as_json(comparison, None))["configuration"] == "r, learning_rate 3e-05"
