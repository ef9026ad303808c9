"""A leaderboard of many runs: its numbers are the report's, and names and texts are never taken for markup."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_hostile_strings import Structure, no_control_character

from tests.helpers.hostile_report import HOSTILE, PLAIN, hostile_runs
from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import files_of, run_record, score, stored
from tests.helpers.sample_report import CARD, N_ROWS, TASK, sample_runs
from xeval.judging.comparison.ranked_runs import load_contest
from xeval.judging.comparison.ranking import rank
from xeval.report import matrix
from xeval.report.site import boards, pages
from xeval.results.configurations import by_configuration
from xeval.results.records import ELSEWHERE, RecipeRecord
from xeval.results.store import StoredRun, save_record
from xeval.support.cache import clear
from xeval.support.errors import StoreError
from xeval.support.text import one_line

# Expects as many rows as the sample has, so that there are verdicts.
KNOWN = TASK.model_copy(update={"expected_rows": TASK.expected_rows.model_copy(update={"test": N_ROWS, "train": 12})})


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> boards.Site:
    return boards.build(sample_runs(tmp_path_factory.mktemp("results")), {"xnli": KNOWN}, {CARD.name: CARD})


def test_numbers_and_marks_match_the_report(site, tmp_path):
    [board], report = site.boards, matrix.build(sample_runs(tmp_path), "xnli", CARD, known=KNOWN)
    assert [language.code for language in board.languages] == report.languages
    rows = {row.name: row for row in report.rows}
    assert {line.name for line in board.lines} == set(rows)
    for line in board.lines:
        row = rows[line.name]
        assert {language: entry.value for language, entry in line.entries.items()} == row.cells
        assert line.mean == (pytest.approx(row.mean_all) if row.mean_all is not None else None)
        judged = row.verdict.cells if row.verdict else {}
        assert {language: entry.outcome for language, entry in line.entries.items() if entry.mark} == {
            language: verdict.outcome for language, verdict in judged.items() if verdict.outcome != "no verdict"
        }
    ordered = [line.mean for line in board.lines if line.mean is not None]
    assert ordered == sorted(ordered, reverse=True) and board.lines[-1].mean is None


def test_no_machine_is_named_for_predictions_that_others_computed(tmp_path):
    ran = sample_runs(tmp_path)[-1]
    given = RecipeRecord(name=ELSEWHERE, values={}, overrides={})
    theirs = StoredRun(ran.folder, ran.record.model_copy(update={"recipe": given, "training": None}))
    [ran_here] = boards.build([ran], {}, {}).boards[0].ours
    [computed_elsewhere] = boards.build([theirs], {}, {}).boards[0].ours
    assert ran_here.details["computed on"] == "x" and "computed on" not in computed_elsewhere.details


# ── ranks ──


def known_runs(folder: Path, accuracies: dict[str, float], languages=("de", "th"), **changes) -> list[StoredRun]:
    """Runs of models on 300 rows, with their predictions on disk."""
    runs = []
    for place, (name, share) in enumerate(accuracies.items()):
        generator, labels, scores = np.random.default_rng(place), np.arange(300) % 3, {}
        own = folder / name
        for language in languages:
            logits = np.eye(3)[np.where(generator.random(300) < share, labels, (labels + 1) % 3)]
            right = float((logits.argmax(axis=1) == labels).mean())
            sha256 = save_predictions(own, language, logits, labels)
            scores[language] = score(right, 300, value=right, predictions_sha256=sha256)
        model = run_record().model.model_copy(update={"id": name, "sha256": files_of(name)})
        runs.append(StoredRun(own, run_record(model=model, seed=1, scores=scores, **changes)))
    return runs


MODELS = {"a": 0.9, "b": 0.88, "c": 0.6, "d": 0.58, "e": 0.2}


def test_ranks_match_xeval_rank(tmp_path):
    runs = known_runs(tmp_path, MODELS)
    [board] = boards.build(runs, {}, {}).boards
    contest = load_contest(by_configuration(runs))
    ranking = rank(contest.models, contest.assumed, contest.scope)
    assert {line.name.partition(",")[0]: line.ranks for line in board.lines} == {
        ranked.model.name: (ranked.best_rank, ranked.worst_rank) for ranked in ranking.models
    }
    assert len({line.ranks for line in board.lines}) > 1
    page = dict(pages.render(boards.build(runs, {}, {})))["index.html"]
    assert page.count("the best and the worst possible among the 5 rows") == 2  # as a tooltip, and below the table


def test_only_comparable_rows_are_ranked_together(tmp_path):
    runs = known_runs(tmp_path / "all", MODELS)
    other = run_record().data.model_copy(update={"sha256": {"test": {"de": "b" * 64, "th": "b" * 64}}})
    runs += known_runs(tmp_path / "elsewhere", {"f": 0.9}, data=other)
    runs += known_runs(tmp_path / "part", {"g": 0.9}, ("de",))
    [board] = boards.build(runs, {}, {}).boards
    ranked = {line.model for line in board.lines if line.ranks}
    assert ranked == set(MODELS) and {line.ranks for line in board.lines if line.model in "fg"} == {None}
    assert max(line.ranks[1] for line in board.ranked) == 5


def test_ranks_need_predictions_or_the_cache(tmp_path):
    runs = known_runs(tmp_path, MODELS)
    [once] = boards.build(runs, {}, {}).boards
    clear("ranks")
    assert boards.build(runs, {}, {}).boards == [once] and once.ranked
    for path in tmp_path.rglob("*.parquet"):
        if path.parent.parent.name != "a":  # the groups of rows are read from the first model's
            path.unlink()
    assert boards.build(runs, {}, {}).boards == [once]
    clear("ranks")
    [without] = boards.build(runs, {}, {}).boards
    assert without.ranked == [] and without.footer[-1].startswith("There are no ranks, since the predictions")
    assert str(tmp_path) not in "".join(dict(pages.render(boards.build(runs, {}, {}))).values())


def test_seeds_give_a_mean_interval_and_a_spread():
    runs = [
        run_record(seed=seed, scores={"de": score(value), "zh": score(0.5)}) for seed, value in ((1, 0.6), (2, 0.7))
    ]
    [board] = boards.build(stored(runs), {}, {}).boards
    entry = board.lines[0].entries["de"]
    assert entry.interval == (pytest.approx(64.0), pytest.approx(66.0))
    assert entry.seeds_sd == pytest.approx(np.std([60, 70], ddof=1))
    assert (entry.value, board.lines[0].seeds) == (pytest.approx(65.0), "2")


def test_row_without_all_languages_has_no_mean():
    runs = [
        run_record(seed=1, scores={"de": score(0.6), "zh": score(0.5)}),
        run_record(seed=1, dtype="bfloat16", scores={"de": score(0.9)}),
    ]
    [board] = boards.build(stored(runs), {}, {}).boards
    assert [line.mean for line in board.lines] == [pytest.approx(55.0), None]


def test_copies_count_once_and_conflicting_runs_are_refused():
    run = run_record(scores={"de": score(0.6)})
    assert boards.build(stored([run, run]), {}, {}).n_runs == 1
    with pytest.raises(StoreError, match="is there twice"):
        boards.build(stored([run, run_record(scores={"de": score(0.7)})]), {}, {})


def test_without_a_score_there_is_no_site():
    with pytest.raises(StoreError, match="no run with a score"):
        boards.build(stored([run_record(scores={})]), {}, {})


def links(page: str) -> list[str]:
    return [value for name, value in Structure(page).values if name == "href"]


def test_links_resolve_and_every_page_is_linked(site):
    written = dict(pages.render(site))
    reached = set()
    for name, page in written.items():
        own = {value for key, value in Structure(page).values if key == "id"}
        for link in links(page):
            if link.startswith("#"):
                assert link[1:] in own
            else:
                reached.add(str((Path("/") / name).parent.joinpath(link).resolve()).removeprefix("/"))
    assert reached == set(written)
    assert len(written) == 1 + 2 + len(site.languages)


def test_similar_model_names_get_separate_pages():
    names = ["org/m", "org--m", "ORG/m", "org m", "org_m"]
    runs = [
        run_record(model=run_record().model.model_copy(update={"id": name, "sha256": f"{place}" * 64}))
        for place, name in enumerate(names)
    ]
    files = boards.build(stored(runs), {}, {}).models
    assert len({file.lower() for file in files.values()}) == len(names)


# ── files ──


@pytest.fixture
def results(tmp_path) -> Path:
    for run in sample_runs(tmp_path / "elsewhere"):
        save_record(tmp_path / "results" / "xnli" / run.folder.parent.name / run.folder.name, run.record)
    return tmp_path / "results"


def test_rewriting_the_site_removes_stale_pages(results, tmp_path, command):
    code, out, _ = command("site", results, results, "--output", tmp_path / "site")
    assert (code, out) == (0, f"3 runs on 10 pages: {tmp_path}/site/index.html\n")
    there = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert "models/organisation--another.html" in there and len(there) == 10
    for path in (results / "xnli" / "organisation--another").rglob("record.json"):
        path.unlink()
    assert command("site", results, "--output", tmp_path / "site")[0] == 0
    after = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert there - after == {"models/organisation--another.html"}


def test_the_same_results_give_the_same_bytes(site):
    assert dict(pages.render(site)) == dict(pages.render(site))


def test_a_folder_with_other_files_is_left_alone(results, tmp_path, command):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<h1>My page</h1>")
    code, _, err = command("site", results, "--output", tmp_path / "mine")
    assert code == 2 and "holds files that are not a leaderboard" in err and err.count("\n") == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["index.html"]
    code, _, err = command("site", results, "--output", tmp_path / "mine" / "index.html")
    assert code == 2 and "found a file" in err
    code, _, err = command("site", tmp_path / "nowhere", "--output", tmp_path / "site")
    assert code == 2 and "no results there yet" in err and not (tmp_path / "site").exists()


# ── hostile texts ──


def hostile_pages(text: str) -> dict[str, str]:
    """One page of each of the three kinds, by kind."""
    written = dict(pages.render(boards.build(hostile_runs(text), {}, {})))
    by_kind = {name.partition("/")[0]: page for name, page in written.items() if not name.startswith("languages")}
    [by_kind["language"]] = [page for name, page in written.items() if name in _of_text(written, text)]
    return by_kind


def _of_text(written: dict[str, str], text: str) -> list[str]:
    """The page of the language named `text`."""
    known = {f"languages/{code}.html" for code in ("en", "es", "zh")}
    return [name for name in written if name.startswith("languages/") and name not in known]


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip()], ids=one_line)
def test_hostile_names_do_not_change_page_structure(text):
    plain_pages = hostile_pages(PLAIN)
    for kind, written in hostile_pages(text).items():
        page, plain = Structure(written), Structure(plain_pages[kind])
        assert page.elements == plain.elements, kind
        assert one_line(text) in "".join(page.text)
        assert no_control_character(written)
        for link in links(written):
            assert re.fullmatch(
                r"#[a-z]+(-\d+)?|(\.\./)?((models|languages)/[A-Za-z0-9_-][A-Za-z0-9._-]*|index)\.html", link
            )
        assert "<script>alert" not in written


def test_no_name_escapes_the_site_folder(tmp_path):
    for text in HOSTILE:
        folder = tmp_path / "site"
        pages.write(boards.build(hostile_runs(text), {}, {}), folder)
    assert {path.name for path in tmp_path.iterdir()} == {"site"}
    assert {path.name for path in folder.iterdir()} == {"index.html", "models", "languages"}


def test_languages_with_one_name_are_listed_by_code():
    """Their order does not depend on the process, as that of a set does."""
    codes = [f"{code}_{script}" for code in ("ace", "bjn", "knc", "min") for script in ("Arab", "Latn")]
    codes += ["kas_Arab", "kas_Deva", "taq_Latn", "taq_Tfng", "zho_Hans", "zho_Hant"]
    built = boards.build(stored([run_record(scores={code: score(0.5) for code in codes})]), {}, {})
    listed = [language.code for language in built.languages]
    assert sorted(listed) == sorted(codes)
    pairs = zip(codes[::2], codes[1::2], strict=True)
    assert all(listed.index(first) + 1 == listed.index(second) for first, second in pairs)


def test_leaderboard_makes_no_claim_of_zero_shot_for_all_rows(site):
    """How others trained is not known. This includes the titles of the pages for models and languages."""
    assert not any("zero-shot" in text.casefold() for text in dict(pages.render(site)).values())


def test_only_captions_above_published_rows_name_italics(site):
    """Thai is in no published row."""
    written = dict(pages.render(site))
    assert "in %; published rows in italics</caption>" in written["index.html"]
    assert "italics</caption>" in written["languages/ur.html"]
    assert "in %</caption>" in written["languages/th.html"] and "italics" not in written["languages/th.html"]
    alone = dict(pages.render(boards.build(stored([run_record()]), {}, {})))
    assert "in %</caption>" in alone["index.html"] and "in italics" not in alone["index.html"]
