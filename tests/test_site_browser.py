"""The leaderboard in a browser: it filters, sorts, fits a phone, is readable without its script, and opens fast."""

from dataclasses import replace

import pytest
from test_html_report import CONTRASTS, complaints, requests
from test_site import KNOWN

from tests.helpers import browser
from tests.helpers.hostile_report import HOSTILE, hostile_runs
from tests.helpers.sample_record import files_of, run_record, score, stored
from tests.helpers.sample_report import CARD, sample_runs
from xeval.report.page.plain import page as page_of_a_table
from xeval.report.site import boards, pages

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
N_RUNS = 500


@pytest.fixture(scope="module", autouse=True)
def chromium(tmp_path_factory):
    running = browser.start(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two tasks: XNLI with a published table, and another in two languages."""
    runs = sample_runs(tmp_path_factory.mktemp("results"))
    runs += stored([run_record(scores={"de": score(0.6), "th": score(0.5)})])
    folder = tmp_path_factory.mktemp("site")
    pages.write(boards.build(runs, {"xnli": KNOWN}, {CARD.name: CARD}), folder)
    return folder


@pytest.fixture
def page(chromium, site) -> browser.Browser:
    chromium.resize(1280, 900)
    chromium.open(site / "index.html")
    return chromium


def choose(page: browser.Browser, name: str, value: str) -> None:
    page.evaluate(
        f"(() => {{const field = document.getElementById('{name}'); field.value = '{value}';"
        " field.dispatchEvent(new Event('input'))})()"
    )


def shown(page: browser.Browser, what: str) -> list[str]:
    found = f"[...document.querySelectorAll('{what}')].filter(element => element.checkVisibility())"
    return page.evaluate(f"{found}.map(element => element.innerText.replace(/\\s*↕$/, ''))")


def test_pages_load_without_errors_or_other_requests(chromium, site):
    for path in sorted(site.rglob("*.html")):
        chromium.open(path)
        assert complaints(chromium) == [] and requests(chromium) == [path.as_uri()]
        assert chromium.evaluate("document.querySelectorAll('h1').length") == 1
        assert chromium.evaluate("document.querySelectorAll('table:not(:has(caption)), th:not([scope])').length") == 0


def test_clicks_open_a_model_and_then_a_language(page, site):
    page.follow("section.board tbody a")
    assert page.evaluate("location.pathname").startswith(f"{site}/models/")
    assert "Thai" in page.evaluate("document.querySelector('tbody').innerText")
    language = page.evaluate("document.querySelector('tbody a').innerText")
    page.follow("tbody a")
    assert page.evaluate("location.pathname").startswith(f"{site}/languages/")
    assert language in page.evaluate("document.querySelector('h1').innerText")


def test_search_filters_rows_by_name(page):
    choose(page, "words", "ANOTHER hf")
    assert shown(page, "tbody th") == ["organisation/another, hf-2019"]
    assert page.evaluate("document.getElementById('shown').textContent") == "1 row shown"
    choose(page, "words", "nothing of this name")
    assert shown(page, "tbody th") == [] and shown(page, "h2") == ["Models", "Languages"]


def test_filters_by_script_family_and_task(page):
    languages = "thead th[data-script]"
    assert len(shown(page, languages)) == 7 + 2
    choose(page, "script", "Arabic")
    assert shown(page, languages) == ["ar", "ur"]
    choose(page, "family", "Semitic")
    assert shown(page, languages) == ["ar"]
    choose(page, "script", "")
    choose(page, "family", "Kra-Dai")
    assert shown(page, languages) == ["th", "th"]
    choose(page, "task", "task-1")
    assert len(shown(page, "section.board")) == 1


def test_mean_covers_the_languages_shown(page):
    before = shown(page, "tbody td:nth-child(2)")
    choose(page, "script", "Latin")
    rows = page.evaluate(
        "[...document.querySelectorAll('section.board tbody tr')].map(row => [row.cells[1].innerText,"
        " [...row.cells].filter((cell, column) => cell.checkVisibility() &&"
        " row.closest('table').tHead.rows[0].cells[column].dataset.script).map(cell => Number(cell.dataset.value))])"
    )
    for text, values in rows:
        if any(value is None for value in values):
            assert text == "–"
        else:
            assert float(text) == pytest.approx(sum(values) / len(values), abs=0.05001)
    assert shown(page, "tbody td:nth-child(2)") != before
    choose(page, "script", "")
    assert shown(page, "tbody td:nth-child(2)") == before


def test_click_sorts_by_best_then_worst_rank(page):
    table = "document.querySelector('#task-2 table')"
    page.evaluate(f"[...{table}.tHead.rows[0].cells].find(cell => cell.textContent === 'ranks').firstChild.click()")
    ranks = page.evaluate(f"[...{table}.tBodies[0].rows].map(row => row.cells[2].textContent)")
    own = [tuple(int(rank) for rank in text.split("–")) for text in ranks if text != "–"]
    assert len(own) == 2 and own == sorted(own) and ranks[2:] == ["–"] * len(ranks[2:])


def test_a_click_sorts_by_a_language(page):
    table = "document.querySelector('section.board table')"
    page.evaluate(f"[...{table}.tHead.rows[0].cells].find(cell => cell.textContent === 'th').firstChild.click()")
    place = page.evaluate(f"[...{table}.tHead.rows[0].cells].findIndex(cell => cell.textContent === 'th')")
    values = page.evaluate(f"[...{table}.tBodies[0].rows].map(row => row.cells[{place}].dataset.value ?? null)")
    numbers = [float(value) for value in values if value is not None]
    assert numbers == sorted(numbers) and values[len(numbers) :] == [None] * (len(values) - len(numbers))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_meets_the_wcag_contrast(page, dark):
    page.resize(1280, 900, dark=dark)
    page.evaluate(
        "for (let level = 0; level < 10; level++) document.querySelector('table').rows[1].insertCell().outerHTML ="
        " `<td class='heat-${level}'>1<br><small>1</small></td>`"
    )
    contrasts = page.evaluate(CONTRASTS.replace("'td, ", "'td, small, "))
    assert len(contrasts) > 50 and min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3


def test_on_a_phone_only_tables_scroll_sideways(chromium, site):
    chromium.resize(390, 844)
    n_wide = 0
    for path in sorted(site.rglob("*.html")):
        chromium.open(path)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= 390, path.name
        wide = chromium.evaluate(
            "[...document.querySelectorAll('table')].filter(table => table.offsetWidth > 390)"
            ".map(table => getComputedStyle(table.parentElement).overflowX)"
        )
        assert set(wide) <= {"auto"}, path.name
        n_wide += len(wide)
    assert n_wide > 0


def test_page_is_readable_without_its_script(page, site):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(site / "index.html")
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    assert not page.evaluate("document.getElementById('filters').checkVisibility()")
    assert len(shown(page, "tbody tr")) == 6


def test_hostile_texts_do_nothing_in_a_browser(chromium, tmp_path):
    for place, text in enumerate(text for text in HOSTILE if "<" in text or "'" in text or '"' in text):
        pages.write(boards.build(hostile_runs(text), {}, {}), tmp_path / str(place))
        for path in (tmp_path / str(place)).rglob("*.html"):
            chromium.open(path)
            assert complaints(chromium) == [] and requests(chromium) == [path.as_uri()]
            assert chromium.reported("Page.javascriptDialogOpening") == []
            assert chromium.evaluate("document.scripts.length") == 1


def test_a_page_of_500_runs_opens_fast(chromium, tmp_path, figure):
    runs = []
    for place in range(N_RUNS):
        name = f"organisation-{place % 7}/encoder-{place:03}-multilingual"
        model = run_record().model.model_copy(update={"id": name, "sha256": files_of(name)})
        scores = {own: score(0.3 + (7 * place + 11 * at) % 60 / 100) for at, own in enumerate(LANGUAGES)}
        runs.append(run_record(model=model, seed=1, scores=scores))
    site = boards.build(stored(runs), {}, {})
    [board] = site.boards
    lines = [replace(line, ranks=(place + 1, N_RUNS - place % 7)) for place, line in enumerate(board.lines)]
    pages.write(replace(site, boards=[replace(board, lines=lines)]), tmp_path / "site")
    chromium.resize(1280, 900)
    chromium.call("Performance.enable", timeDomain="threadTicks")  # so that other processes do not count
    computed, painted = [], []
    for _ in range(3):
        chromium.open(tmp_path / "site" / "index.html")
        metrics = {each["name"]: each["value"] for each in chromium.call("Performance.getMetrics")["metrics"]}
        computed.append(metrics["TaskDuration"])
        painted.append(chromium.evaluate("performance.getEntriesByType('paint').at(-1).startTime") / 1000)
    assert chromium.evaluate("document.querySelectorAll('tbody tr').length") == N_RUNS
    figure("a leaderboard of 500 runs opens", f"{min(computed):.2f} s of computing, painted after {min(painted):.2f} s")
    assert min(computed) < 1.5  # half of this on an idle machine


def test_seeds_are_sorted_as_numbers(chromium, tmp_path):
    runs = []
    for name, n_seeds in (("org/a", 3), ("org/b", 10), ("org/c", 1)):
        model = run_record().model.model_copy(update={"id": name, "sha256": files_of(name)})
        runs += [run_record(model=model, seed=seed, scores={"de": score(0.6)}) for seed in range(n_seeds)]
    pages.write(boards.build(stored(runs), {}, {}), tmp_path / "site")
    chromium.open(tmp_path / "site" / "index.html")
    chromium.evaluate("[...document.querySelectorAll('thead button')].find(b => b.innerText == 'seeds').click()")
    place = "[...document.querySelectorAll('thead th')].findIndex(head => head.innerText.startsWith('seeds'))"
    column = f"[...document.querySelectorAll('tbody tr')].map(row => row.cells[{place}].innerText)"
    assert chromium.evaluate(column) == ["1", "3", "10"]


def test_wide_tables_fit_on_paper(chromium, tmp_path):
    runs = stored([run_record(scores={language: score(0.6) for language in LANGUAGES})])
    pages.write(boards.build(runs, {}, {}), tmp_path / "site")
    header = ["", *(f"Task number {n} (dev)" for n in range(9)), *("a group of tasks",) * 4, "mean of 9"]
    row = ["organisation/encoder-of-some-size", *("71.2 [69.8, 72.6]",) * 9, *("71.2 (1 of 2)",) * 5]
    plain = tmp_path / "suite.html"
    plain.write_text(page_of_a_table("t", "Suite", header, [row], ["a note"]), encoding="utf-8")
    try:
        for path in (tmp_path / "site" / "index.html", plain):
            chromium.resize(960, 700)  # the width of a sheet in landscape, without margins
            chromium.call("Emulation.setEmulatedMedia", media="print")
            chromium.open(path)
            right = "Math.max(...[...document.querySelectorAll('th, td')].map(e => e.getBoundingClientRect().right))"
            assert 0 < chromium.evaluate(right) <= 960
            assert chromium.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")


def test_every_part_of_a_page_has_a_name_of_its_own(chromium, site):
    named = "[...document.querySelectorAll('[role=region], section[aria-labelledby]')]"
    name = "part.ariaLabel ?? document.getElementById(part.getAttribute('aria-labelledby')).innerText"
    for path in sorted(site.rglob("*.html")):
        chromium.open(path)
        names = chromium.evaluate(f"{named}.map(part => {name})")
        assert len(names) > 1 and len(set(names)) == len(names), path.name
