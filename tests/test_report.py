"""The matrix and its formats: what goes where, and what is averaged."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from tests.helpers.sample_record import INVOCATION, environment, files_of, run_record, score
from xeval.definitions.registry import get_reference, get_task
from xeval.report import findings, footnotes, matrix, transfer, worst
from xeval.report.formats import latex, markdown, model_card, terminal
from xeval.report.frame import to_frame
from xeval.report.page import heat, html
from xeval.results.configurations import by_configuration
from xeval.results.records import Failure, Invocation, Limits, ModelRecord, RecipeRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError

DISTILMBERT = "distilbert/distilbert-base-multilingual-cased"
CARD = get_reference("distilmbert-card")


def a_run(model: str = DISTILMBERT, seed: int = 1, origin: str = "hub", **accuracies: float) -> StoredRun:
    model_record = ModelRecord(
        id=model, origin=origin, revision=None, sha256=files_of(model), n_parameters=12, architecture="distilbert"
    )
    record = run_record(
        task="xnli",
        task_title="XNLI",
        model=model_record,
        recipe=RecipeRecord(name="hf-2019", values={"learning_rate": 5e-5}, overrides={}),
        limits=Limits(),
        seed=seed,
        scores={language: score(accuracy) for language, accuracy in accuracies.items()},
        invocations={
            INVOCATION: Invocation(environment=environment(versions={"xeval": "1", "torch": "2", "transformers": "5"}))
        },
    )
    return StoredRun(Path(f"results/{seed}"), record)


SIX = {"en": 0.80, "es": 0.70, "zh": 0.65, "de": 0.66, "ar": 0.60, "ur": 0.55}


def rows(*runs, reference=CARD) -> list[matrix.Row]:
    return matrix.build(list(runs), "xnli", reference).rows


def test_published_row_comes_directly_above_ours():
    names = [row.name for row in rows(a_run(**SIX))]
    assert names == [
        "mBERT base cased (computed), published",
        "mBERT base uncased (reported), published",
        "DistilmBERT, published",
        f"{DISTILMBERT}, hf-2019",
    ]
    names = [row.name for row in rows(a_run("google-bert/bert-base-multilingual-cased", **SIX))]
    assert names[:2] == ["mBERT base cased (computed), published", "google-bert/bert-base-multilingual-cased, hf-2019"]


def test_local_folder_is_not_taken_for_a_published_model():
    assert rows(a_run("mbert", origin="local", **SIX))[-1].name == "mbert, hf-2019"
    local = a_run("google-bert/bert-base-multilingual-cased", origin="local", **SIX)
    assert [row.published for row in rows(local)] == [True, True, True, False]


def test_languages_follow_the_order_of_the_table():
    table = matrix.build([a_run(**SIX, th=0.5, fr=0.6)], "xnli", CARD)
    assert table.languages == ["en", "es", "zh", "de", "ar", "ur", "fr", "th"]


def test_means_and_gap_are_those_of_the_cells():
    ours = rows(a_run(**SIX, th=0.5))[-1]
    assert ours.mean_reference == pytest.approx((80 + 70 + 65 + 66 + 60 + 55) / 6)
    assert ours.mean_all == pytest.approx((80 + 70 + 65 + 66 + 60 + 55 + 50) / 7)
    assert ours.gap == pytest.approx(80 - (70 + 65 + 66 + 60 + 55) / 5)
    published = rows(a_run(**SIX))[2]
    assert published.mean_reference == pytest.approx(65.2333, abs=1e-4)
    assert published.gap == pytest.approx(78.2 - (69.1 + 64.0 + 66.3 + 59.1 + 54.7) / 5)


def test_incomplete_languages_give_no_mean():
    _, *others = rows(a_run(en=0.8, es=0.7), a_run("org/another", en=0.8, es=0.7, zh=0.6))
    ours = next(row for row in others if not row.published)
    assert (ours.mean_reference, ours.gap) == (None, None)
    three = [a_run(en=0.8, es=0.7), a_run("org/another", en=0.8, es=0.7, zh=0.6)]
    assert "–" in markdown.render(matrix.build(three, "xnli", CARD))


def test_languages_without_scores_are_left_out_of_means():
    *_, published, ours = rows(a_run(es=0.7, ur=0.5))
    assert matrix.build([a_run(es=0.7, ur=0.5)], "xnli", CARD).languages == ["es", "ur"]
    assert (published.mean_reference, ours.mean_reference) == (pytest.approx((69.1 + 54.7) / 2), 60.0)


def test_seeds_are_averaged_and_counted():
    ours = rows(a_run(seed=1, en=0.80, es=0.70), a_run(seed=2, en=0.82, es=0.74))[-1]
    assert ours.cells == pytest.approx({"en": 81, "es": 72})
    assert ours.seeds == "2"


def test_fewer_seeds_in_a_language_show_as_a_range():
    assert rows(a_run(seed=1, en=0.8, es=0.7), a_run(seed=2, en=0.8))[-1].seeds == "1 to 2"


def test_a_mean_over_languages_is_of_the_seeds_that_have_them():
    first, second = (
        a_run(seed=seed, **{language: share + more for language, share in SIX.items()})
        for seed, more in ((1, 0.0), (2, 0.02))
    )
    third = a_run(seed=3, en=0.70, es=0.60, fr=0.50)
    table = matrix.build([first, second, third], "xnli", CARD)
    ours = table.rows[-1]
    whole = sum(SIX.values()) / 6 * 100 + 1  # of the first two; the third would pull the cells' mean 1.2 points down
    assert ours.cells["en"] == pytest.approx((80 + 82 + 70) / 3) and ours.seeds == "1 to 3"
    assert ours.mean_reference == pytest.approx(whole) == pytest.approx(ours.verdict.mean.comparison.ours)
    assert ours.mean_all is None  # no seed has the six and French
    report = markdown.render(table)
    assert f"**distilmbert (hf-2019)**: {whole:.1f} " in report and report.count(f" {whole:.1f} ↑ |") == 1
    said = "Seeds have different languages: a mean over languages is of the seeds that have all of them."
    assert said in table.footer
    assert said not in matrix.build([first, second], "xnli", CARD).footer


def test_limited_runs_are_not_averaged_with_full_ones():
    run = a_run(seed=2, en=0.5)
    limited = run.record.model_copy(update={"limits": Limits(max_train=10)})
    ours = [row for row in rows(a_run(en=0.8), StoredRun(run.folder, limited)) if not row.published]
    assert [row.cells for row in ours] == [{"en": 80.0}, {"en": 50.0}]
    assert "max train 10" in ours[1].name


def test_a_failed_run_is_named_and_not_averaged():
    run = a_run(seed=2)
    failure = Failure(reason="the loss became nan at step 7", invocation=None)
    failed = run.record.model_copy(update={"status": "failed", "failures": {"train": failure}})
    table = matrix.build([a_run(**SIX), StoredRun(run.folder, failed)], "xnli", CARD)
    assert table.rows[-1].seeds == "1"
    assert any("seed 2: the loss became nan at step 7" in line for line in table.footer)


def test_missing_results_are_an_error():
    with pytest.raises(StoreError, match="no results for task xnli"):
        matrix.build([], "xnli", CARD)


def test_the_source_of_the_markdown_table_is_aligned():
    lines = [
        line for line in markdown.render(matrix.build([a_run(**SIX)], "xnli", CARD)).splitlines() if line[:1] == "|"
    ]
    assert len(lines) == 6
    assert len({len(line) for line in lines}) == 1
    assert [[i for i, c in enumerate(line) if c == "|"] for line in lines[1:]] == [
        [i for i, c in enumerate(lines[0]) if c == "|"]
    ] * 5


def test_the_markdown_says_what_produced_it():
    text = markdown.render(matrix.build([a_run(**SIX)], "xnli", CARD))
    for said in ("effective batch size 8", "hf-2019", "torch 2", CARD.source_url, "the table's file chooses hf-2019."):
        assert said in text


def test_frame_has_fractions_per_run_and_language():
    frame = to_frame([a_run(seed=1, en=0.8, es=0.7), a_run(seed=2, en=0.82)])
    assert list(frame[["seed", "language", "value"]].itertuples(index=False, name=None)) == [
        (1, "en", 0.8),
        (1, "es", 0.7),
        (2, "en", 0.82),
    ]
    assert frame["configuration"].nunique() == 1


def how(*runs: StoredRun) -> str:
    text = markdown.render(matrix.build(list(runs), "xnli", None))
    return next(line for line in text.splitlines() if line.startswith("- Accuracy in %"))


def test_report_names_the_training_language():
    run = a_run(en=0.8, fr=0.7)
    french = StoredRun(run.folder, run.record.model_copy(update={"training_language": "fr"}))
    assert "fine-tuned on French, evaluated" in how(french) and "gap: French minus" in how(french)
    assert "English" not in how(french)


def test_no_fine_tuning_is_claimed_for_untrained_runs():
    run = a_run("org/n", en=0.8, fr=0.7)
    plain = RecipeRecord(name="no-train", values={"max_length": 128}, overrides={})
    as_it_is = StoredRun(run.folder, run.record.model_copy(update={"recipe": plain, "training": None}))
    assert "fine-tuned" not in how(as_it_is) and "without training" in how(as_it_is)
    assert "fine-tuned on English (rows of no-train: evaluated as they are)" in how(a_run(**SIX), as_it_is)


def test_configuration_of_two_machines_names_both():
    run = a_run(**SIX)
    there = Invocation(environment=environment(versions={"torch": "3"}, hardware={"gpu": "H"}))
    both = StoredRun(run.folder, run.record.model_copy(update={"invocations": run.record.invocations | {"2": there}}))
    [line] = [line for line in matrix.build([both], "xnli", None).footer if "effective batch size" in line]
    assert "torch 2, transformers 5, float32 on x and xeval ?, torch 3, transformers ?, float32 on H" in line


def test_finding_distinguishes_configurations_of_one_seed():
    """Both runs are of distilmbert, hf-2019 and seed 42, trained for different numbers of epochs."""
    runs = []
    for epochs in (2, 3):
        record = run_record(seed=42, status="failed", scores={}, training=None)
        recipe = record.recipe.model_copy(
            update={"values": record.recipe.values | {"epochs": epochs}, "overrides": {"epochs": epochs}}
        )
        broken = {"train": Failure(reason="the loss is no number", invocation=INVOCATION)}
        runs.append(StoredRun(Path("x"), record.model_copy(update={"recipe": recipe, "failures": broken})))
    [found] = findings.of(runs, None, None)
    recipe, model = runs[0].record.recipe.name, runs[0].record.model.id
    assert found.name == (
        f"{model}, {recipe}, epochs 2, max train 10, seed 42; {model}, {recipe}, epochs 3, max train 10, seed 42:"
        " training broke down"
    )


def trained_on(language: str, run: StoredRun) -> StoredRun:
    data = run.record.data.model_copy(update={"sha256": {"train": {language: "0" * 64}}})
    changed = {"training_language": language, "trained_instead": "own", "data": data}
    return StoredRun(run.folder, run.record.model_copy(update=changed))


def gaps_of(built: matrix.Matrix, row: int = -1) -> dict[str, str]:
    return {line.more[0]: line.cells[row].text for line in heat.gap_lines(built)["language"]}


def test_gap_is_the_same_wherever_it_is_printed():
    built = matrix.build([a_run(en=0.51667, ur=0.42222)], "xnli", None)  # 51.7 - 42.2; unrounded, 9.445
    assert worst.of(built.ours[0]).startswith("Worst: Urdu, 42.2, 9.5 points below English")
    assert gaps_of(built) == {"ur": "9.5"}
    assert {
        cell.text for kind in ("script", "family") for line in heat.gap_lines(built)[kind] for cell in line.cells
    } == {"9.5"}


def test_page_rounds_a_score_the_same_everywhere():
    page = html.render(matrix.build([a_run(en=0.7125, ur=0.6625)], "xnli", None))  # in binary just below a half
    assert page.count(">71.3<") >= 2 and page.count(">66.3<") >= 2
    assert ">71.2<" not in page and ">66.2<" not in page


def test_gap_of_a_row_is_from_the_language_it_was_trained_on():
    german = trained_on("de", a_run(**SIX))
    built = matrix.build([german], "xnli", CARD, known=get_task("xnli"))
    assert gaps_of(built)["en"] == "-14.0" and gaps_of(built)["de"] == "–"  # 66 in de, 80 in en
    assert gaps_of(built, row=0)["en"] == "–" and gaps_of(built, row=0)["de"] == "9.8"  # published: 82.1, 72.3
    assert all("en" not in line.more[0].split() for line in heat.gap_lines(built)["script"])
    text, page = markdown.render(built), html.render(built)
    assert "gap: the language trained on minus the mean" in text and "gap: English" not in text
    assert "Points lost between the language trained on and the other languages" in page
    assert "German development set" in page and "English development set" not in page
    assert "steps on 10 pairs in German, checkpoint" in text


def test_terminal_names_another_training_language(capsys):
    german = trained_on("de", a_run(en=0.8, de=0.7))
    terminal.show(matrix.build([german], "xnli", None, known=get_task("xnli")), Console(width=200))
    assert "accuracy in %, zero-shot, trained on German, hf-2019" in capsys.readouterr().out


def test_gap_is_explained_where_it_is_shown():
    built = matrix.build([a_run(**SIX)], "xnli", CARD)
    assert "Gap: English minus the mean of the other languages" in latex.render(built)
    without_english = matrix.build([a_run(es=0.7, ur=0.5)], "xnli", None)
    assert "gap" not in markdown.render(without_english).partition("## Accuracy")[0]
    assert "gap:" not in markdown.render(without_english) and "Gap:" not in latex.render(without_english)


def test_asymmetry_adds_up_as_printed():
    runs = [a_run(en=0.80, de=0.66651), trained_on("de", a_run(seed=2, en=0.71222, de=0.70049))]
    [_, asymmetry] = transfer.of(matrix.build(runs, "xnli", None))
    assert asymmetry.rows == [("en → de", "3.3", "8.8", "-5.5")]  # 70.0 - 66.7 and 80.0 - 71.2


def test_gap_of_two_languages_is_the_printed_difference(capsys):
    built = matrix.build([a_run(en=0.48333, es=0.41667)], "xnli", None)  # 48.3 - 41.7; unrounded, 6.67
    terminal.show(built, Console(width=200))
    shown = capsys.readouterr().out
    assert re.search(r"gap +│ +6\.6", shown) and "6.6 points below English" in shown
    assert "gap 6.6." in markdown.render(built) and "& 6.6 &" in latex.render(built)
    assert html.render(built).count(">6.6<") >= 3 and ">6.7<" not in html.render(built)
    assert built.ours[0].gap == pytest.approx(6.666)  # as in JSON


def test_run_that_broke_down_is_not_called_untrained():
    failures = {"train": Failure(reason="the loss became nan", invocation=INVOCATION)}
    broken = a_run()
    changes = {"status": "failed", "training": None, "scores": {}, "failures": failures}
    changes["recipe"] = RecipeRecord(name="hf-2019", values={"learning_rate": 1.0}, overrides={"learning_rate": 1.0})
    broken = StoredRun(broken.folder, broken.record.model_copy(update=changes))
    [line] = [line for line in footnotes.of(by_configuration([broken]), None) if line.startswith(DISTILMBERT)]
    assert "; recipe hf-2019: training was not finished; changed from the recipe: learning_rate=1.0;" in line
    assert "without training" not in line


def test_latex_prints_the_dots_between_outcomes():
    built = matrix.build([a_run(**SIX)], "xnli", CARD)
    assert " · " in markdown.render(built)
    assert r" \textperiodcentered{} " in latex.render(built) and "[U+" not in latex.render(built)


def test_frame_without_runs_has_its_columns():
    assert list(to_frame([]).columns) == list(to_frame([a_run(en=0.8)]).columns)


def test_notes_on_runs_name_their_configuration():
    """Even if no other configuration of the model and recipe has such a note."""

    def frozen(run: StoredRun, **changes) -> StoredRun:
        values = {"learning_rate": 5e-5, "adaptation": "frozen"}
        recipe = RecipeRecord(name="hf-2019", values=values, overrides={"adaptation": "frozen"})
        return StoredRun(Path("results/frozen"), run.record.model_copy(update={"recipe": recipe, **changes}))

    full, name = a_run(en=0.80, es=0.70), f"{DISTILMBERT}, hf-2019, adaptation frozen, seed 1: "
    [line] = [line for line in matrix.build([full, frozen(a_run(en=0.35))], "xnli", None).footer if "Collapsed" in line]
    assert line.startswith(f"Collapsed: {name}")
    broken = frozen(a_run(es=0.35), status="failed", failures={"en": Failure(reason="no", invocation=INVOCATION)})
    built = matrix.build([full, broken], "xnli", None)
    assert f"Failed: {name}no" in built.footer
    assert f"{name}evaluation broke down" in [found.name for found in findings.of(built.runs, None, None)]
    alone = matrix.build([broken], "xnli", None).footer
    assert f"Failed: {DISTILMBERT} hf-2019 seed 1: no" in alone


def test_seeds_on_different_test_rows_have_a_footnote():
    """Their mean was shown like that of any other seeds."""

    def on_rows(seed: int, **sha256: str) -> StoredRun:
        run = a_run(seed=seed, en=0.8, es=0.7)
        data = run.record.data.model_copy(update={"sha256": run.record.data.sha256 | {"test": sha256}})
        return StoredRun(run.folder, run.record.model_copy(update={"data": data}))

    old, new = on_rows(1, en=files_of("en"), es=files_of("es")), on_rows(2, en=files_of("en"), es=files_of("new es"))
    [line] = [line for line in matrix.build([old, new], "xnli", CARD).footer if line.startswith("Different test rows")]
    assert f"the seeds of {DISTILMBERT}, hf-2019 were not evaluated on the same rows in es; " in line
    assert not any(line.startswith("Different") for line in matrix.build([old], "xnli", CARD).footer)


def flores(n: int) -> dict[str, float]:
    """Return scores in `n` languages: English and those with the longest codes."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    codes = [f"q{first}{second}_Latn" for first in "abcdefghijklmnopqrst" for second in letters]
    return dict.fromkeys(["en", *codes[: n - 1]], 0.5)


@pytest.mark.parametrize(("n", "down"), [(20, False), (21, True)])
def test_many_languages_go_down_the_page(n, down):
    built = matrix.build([a_run(**flores(n)), a_run("org/m", **flores(n))], "xnli", None)
    for text in (markdown.render(built), model_card.evaluation(built)):
        table = [re.split(" *[|] *", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
        assert (len(table[0]) == 3) is down
        assert any(line[0] in ("en English", "English") for line in table) is down
        assert ("**org/m, hf-2019**" in table[0]) is down


def test_few_languages_stay_columns_beside_more_rows():
    runs = [a_run(f"org/m{number}", **flores(21)) for number in range(21)]
    assert "| en |" in re.sub(" +", " ", markdown.render(matrix.build(runs, "xnli", None)))


def test_lines_of_languages_end_with_the_same_numbers():
    built = matrix.build([a_run(**flores(21) | SIX)], "xnli", CARD)
    [*_, means, more, gap, rows, seeds] = [
        re.split(r" *\| *", line)[1:-1] for line in markdown.render(built).splitlines() if line.startswith("| ")
    ]
    assert (means[0], means[-1], more[0], more[-1]) == ("mean of 6", "66.0 ≈", "mean of 26", "53.7")
    assert (gap[0], gap[-1], rows[-1], seeds[-1]) == ("gap", "16.8", "1,000", "1")


def overfull(folder: Path, tables: list[str], options: str) -> list[str]:
    """Return what pdflatex says about tables in an article that are wider or longer than its page."""
    packages, body = r"\usepackage{amssymb,booktabs,graphicx}", "\n".join(tables)
    document = rf"\documentclass[{options}]{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (folder / "all.tex").write_text(document, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "-draftmode", "all.tex"]
    process = subprocess.run(words, cwd=folder, capture_output=True, timeout=200)
    said = process.stdout.decode(errors="replace")
    assert process.returncode == 0, said[-2000:]
    return re.findall(r"Overfull \\hbox.*alignment|Float too large", said)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
@pytest.mark.parametrize("options", ["10pt", "12pt", "11pt,twocolumn"])
def test_latex_of_many_languages_fits_its_pages(tmp_path, options):
    models = [DISTILMBERT, *(f"organisation/a-model-with-a-long-name-{number}" for number in range(5))]
    tables = [
        latex.render(matrix.build([a_run(model, **flores(n)) for model in models[:n_models]], "xnli", None))
        for n, n_models in ((33, 6), (52, 2), (205, 2))
    ]
    assert not overfull(tmp_path, tables, options)


def test_latex_is_not_shrunk_to_nothing_by_languages():
    written = latex.render(matrix.build([a_run(**flores(205)), a_run("org/m", **flores(205))], "xnli", None))
    assert written.count(r"\begin{table*}") == 2 and written.count(r"\caption") == 1
    assert re.findall(r"\\begin{tabular}\[t\]{(.*)}", written) == ["lrr"] * 6
    lines = [line for line in written.splitlines() if line.endswith(r"\\")]
    assert sum(line.startswith(r"{q") for line in lines) == 204 and r"{en English} & 50.0 & 50.0 \\" in lines


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
@pytest.mark.parametrize("n_models", [1, 3])
def test_latex_notes_on_many_verdicts_leave_no_page(tmp_path, n_models):
    """Every cell and mean has a sentence, since none is reproduced."""
    table = get_reference("conneau-2020")
    published = list({row.model: row for row in table.rows if row.model}.values())[:n_models]
    runs = [
        a_run(row.model, seed, **{language: value / 100 - 0.08 for language, value in row.cells.items()})
        for row in published
        for seed in (1, 2, 3)
    ]
    written = latex.render(matrix.build(runs, "xnli", table))
    assert written.count("not reproduced; our") >= 16 * n_models and "Notes on Table" in written
    assert not overfull(tmp_path, [written], "10pt")
