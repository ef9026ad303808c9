"""The report in a browser: headless Chromium draws the page, sorts its tables, and makes no other request."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from test_hostile_strings import HOSTILE

from tests.helpers import browser
from tests.helpers.sample_report import CARD, sample_matrix, sample_runs
from xeval.judging.verdict import RowVerdict
from xeval.report.matrix import Matrix, build
from xeval.report.page import charts, forest, html
from xeval.results.store import StoredRun
from xeval.support.findings import warning

ACCURACY = "document.querySelector('table.sortable')"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(html.render(sample_matrix(folder / "results")), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def chromium(tmp_path_factory):
    running = browser.start(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def page(chromium, page_file) -> browser.Browser:
    chromium.resize(1280, 900)
    chromium.open(page_file)
    return chromium


def complaints(page: browser.Browser) -> list:
    """Everything that a developer's console would show."""
    methods = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [found for method in methods for found in page.reported(method)]


def requests(page: browser.Browser) -> list[str]:
    return [found["request"]["url"] for found in page.reported("Network.requestWillBeSent")]


def column(page: browser.Browser, index: int) -> list[str]:
    return page.evaluate(f"[...{ACCURACY}.tBodies[0].rows].map(row => row.cells[{index}].innerText)")


def press(page: browser.Browser, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        typed = {"text": text} if text and kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)


def test_page_loads_without_errors_or_requests(page, page_file):
    assert page.evaluate("document.querySelectorAll('h2').length") == 7
    assert complaints(page) == []
    assert requests(page) == [page_file.as_uri()]
    boxes = page.evaluate("[...document.querySelectorAll('figure svg')].map(svg => svg.getBoundingClientRect().height)")
    assert len(boxes) == 10 and min(boxes) > 100


def test_first_screen_shows_models_and_top_of_plot(page):
    foot = "document.querySelector('.board').getBoundingClientRect().bottom"
    first_line = "document.querySelector('.forest .line').getBoundingClientRect().bottom"
    assert page.evaluate(foot) < 300 < page.evaluate(first_line) < page.evaluate("innerHeight")
    said = page.evaluate("[...document.querySelectorAll('.board tbody')].map(body => body.innerText)")
    assert ["64.3 ≈" in said[0], "✗ 1 not reproduced" in said[0], "72.2" in said[1]] == [True] * 3


def test_a_line_of_the_plot_opens_to_its_sentence(page, page_file):
    page.open(page_file)
    shown = "document.body.innerText.includes('ur: not reproduced; our 40.0')"
    assert not page.evaluate(shown)
    page.evaluate("document.querySelector('.forest .not-reproduced summary').focus()")
    press(page, "Enter", 13, "\r")
    assert page.evaluate(shown) and complaints(page) == []
    page.open(page_file)


def test_plot_marks_are_at_their_numbers(page):
    """Distances between marks, in pixels, are proportional to differences between their numbers."""
    centres = "['.shape', '.band', '.zero'].map(part => line.querySelector(part).getBoundingClientRect())"
    lines = page.evaluate(
        "[...document.querySelectorAll('.forest .line')].map(line => ["
        f"parseFloat(line.querySelector('.points').innerText), ...{centres}.map(box => box.x + box.width / 2)])"
    )
    points, marks, bands, zeros = zip(*lines, strict=True)
    assert len(lines) == 7 and list(points[:6]) == sorted(points[:6])
    assert bands == pytest.approx(zeros, abs=1.5)  # the band of tolerance is centred on zero
    scale = (marks[5] - marks[0]) / (points[5] - points[0])
    assert [mark - zeros[0] for mark in marks] == pytest.approx([scale * point for point in points], abs=3)


def test_page_cannot_reach_the_network(page):
    for attempt in (
        "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')",
        "new Promise(done => {const i = new Image(); i.onload = () => done('sent');"
        " i.onerror = () => done('refused'); i.src = 'http://127.0.0.1:9/x.png'})",
        "new Promise(done => {const s = document.createElement('script'); s.onload = () => done('sent');"
        " s.onerror = () => done('refused'); s.src = 'http://127.0.0.1:9/x.js'; document.body.append(s)})",
    ):
        answer = page.call("Runtime.evaluate", expression=attempt, awaitPromise=True, returnByValue=True)
        assert answer["result"]["value"] == "refused"
    refusals = [found["entry"]["text"] for found in page.reported("Log.entryAdded")]
    assert len(refusals) >= 3 and all("Content Security Policy" in text for text in refusals)


def test_clicks_sort_a_column_and_reverse_it(page):
    ours = 4
    before = column(page, ours)
    page.evaluate(f"{ACCURACY}.tHead.rows[0].cells[{ours}].querySelector('button').click()")
    numbers = [float(text.split()[0]) for text in column(page, ours)]
    assert numbers == sorted(numbers) and column(page, ours) != before
    assert page.evaluate(f"{ACCURACY}.tHead.rows[0].cells[{ours}].getAttribute('aria-sort')") == "ascending"
    page.evaluate(f"{ACCURACY}.tHead.rows[0].cells[{ours}].querySelector('button').click()")
    assert [float(text.split()[0]) for text in column(page, ours)] == sorted(numbers, reverse=True)
    assert page.evaluate("document.querySelectorAll('[aria-sort]').length") == 1
    assert "descending" in page.evaluate("document.getElementById('sorted').textContent")
    assert complaints(page) == []


def test_missing_values_sort_last_in_both_directions(page):
    published = 1
    for _ in range(2):
        page.evaluate(f"{ACCURACY}.tHead.rows[0].cells[{published}].querySelector('button').click()")
        assert column(page, published).index("–") == len(column(page, published)) - 1


def test_page_works_with_the_keyboard_alone(page):
    press(page, "Tab", 9)
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0  # visible once it has the focus
    page.evaluate(f"{ACCURACY}.tHead.rows[0].cells[0].querySelector('button').focus()")
    press(page, "Enter", 13, "\r")
    assert column(page, 0) == sorted(column(page, 0)) != []


def test_screen_readers_get_names_and_roles(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    nodes = [node for node in tree if not node.get("ignored")]
    named = {"image", "img", "button", "link", "region", "table", "navigation"}
    for node in nodes:
        if node["role"]["value"] in named:
            assert node["name"]["value"], node
    roles = [node["role"]["value"] for node in nodes]
    assert {"main", "navigation", "banner", "table", "columnheader", "rowheader"} <= set(roles)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    assert page.evaluate("document.querySelectorAll('table:not(:has(caption)), th:not([scope])').length") == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(set(ids)) == len(ids)


CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const rgb = (colour) => colour.startsWith('color(') ? parts(colour) : parts(colour).map(part => part / 255);
  const luminance = (colour) => {
    const [r, g, b] = rgb(colour).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
  };
  return [...document.querySelectorAll('td, th, caption, p, li, a, summary, figcaption, .code')].map(element => {
    const pair = [luminance(getComputedStyle(element).color), luminance(background(element))].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_contrast_meets_wcag(page, dark):
    page.resize(1280, 900, dark=dark)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)"
    )
    # Put every shade on the page, not only those that these numbers happen to have.
    page.evaluate(
        "for (const kind of ['heat', 'more', 'less']) for (let level = 0; level < 10; level++)"
        " document.querySelector('table').rows[1].insertCell().className = `${kind}-${level}`"
    )
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 200 and min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3


def test_page_fits_a_phone_screen(page, page_file):
    page.resize(390, 844)
    page.open(page_file)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    letters = "[...document.querySelectorAll('figure svg text')].map(text => text.getBoundingClientRect().height)"
    assert min(page.evaluate(letters)) >= 10  # in pixels
    scrolls = page.evaluate(
        "[...document.querySelectorAll('table')].map(table => table.closest('.scroll')).map(box => {"
        "box.scrollLeft = 1e6; const hidden = box.scrollWidth - box.clientWidth;"
        "return [getComputedStyle(box).overflowX, hidden, box.scrollLeft]})"
    )
    assert all((how, reached) == ("auto", pytest.approx(hidden, abs=1)) for how, hidden, reached in scrolls)
    assert max(hidden for _, hidden, _ in scrolls) > 100 and page.evaluate("scrollX") == 0


def test_print_unfolds_all_but_the_records(page):
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    page.call("Emulation.setEmulatedMedia", media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 9  # verdicts, confusion of two models
    assert page.evaluate("document.querySelectorAll('.record').length") == 3
    assert page.evaluate("document.querySelectorAll('.record[open]').length") == 0
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    page.call("Emulation.setEmulatedMedia", media="")


def test_page_is_readable_without_its_script(page, page_file):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(page_file)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    assert page.evaluate("document.querySelector('table.sortable').tBodies[0].rows.length") == 7


def test_hostile_texts_do_nothing_in_a_browser(chromium, tmp_path):
    matrix = sample_matrix(tmp_path / "results")
    made = Matrix(**(vars(matrix) | {"footer": HOSTILE, "title": " ".join(HOSTILE), "note": " ".join(HOSTILE)}))
    made.findings.extend(warning(text, text, text) for text in HOSTILE)
    path = tmp_path / "hostile.html"
    path.write_text(html.render(made), encoding="utf-8")
    chromium.open(path)
    assert complaints(chromium) == [] and requests(chromium) == [path.as_uri()]
    assert chromium.reported("Page.javascriptDialogOpening") == []
    assert chromium.evaluate("document.querySelectorAll('#made ~ ul li').length") == len(HOSTILE) + 1
    assert chromium.evaluate("document.scripts.length") == 1


def test_page_explains_damaged_predictions(tmp_path, chromium):
    matrix = sample_matrix(tmp_path / "results")
    damaged = next((tmp_path / "results").rglob("en.parquet"))
    damaged.write_bytes(b"\0" + damaged.read_bytes()[1:])
    path = tmp_path / "report.html"
    path.write_text(html.render(matrix), encoding="utf-8")
    chromium.open(path)
    notes = chromium.evaluate("[...document.querySelectorAll('[role=note]')].map(note => note.textContent)")
    assert len(notes) == 1 and "What only the predictions can show is left out" in notes[0] and "damaged" in notes[0]
    assert chromium.evaluate(f"{ACCURACY}.tBodies[0].rows.length") == len(matrix.languages)
    assert complaints(chromium) == []


def test_note_of_a_toy_task_precedes_the_table(tmp_path, chromium):
    matrix = sample_matrix(tmp_path / "results")
    note = "numbers on it say nothing about mBERT"
    path = tmp_path / "report.html"
    path.write_text(html.render(Matrix(**(vars(matrix) | {"note": note}))), encoding="utf-8")
    chromium.open(path)
    top = "document.querySelector('[role=note]').getBoundingClientRect().bottom"
    assert note in chromium.evaluate("document.querySelector('[role=note]').textContent")
    assert chromium.evaluate(f"{top} < {ACCURACY}.getBoundingClientRect().top")


def test_confusion_names_the_rows_of_its_kind(tmp_path):
    built = sample_matrix(tmp_path / "results")
    assert "shares of each gold label's pairs</caption>" in html.render(built)
    rows = [
        replace(row, runs=tuple(_of_kind("sentence-classification", run) for run in row.runs)) for row in built.rows
    ]
    page = html.render(replace(built, rows=rows))
    assert "shares of each gold label's sentences</caption>" in page and "label's pairs" not in page


def _of_kind(kind: str, run: StoredRun) -> StoredRun:
    return replace(run, record=run.record.model_copy(update={"kind": kind}))


def test_every_scrolling_table_has_a_name_of_its_own(page):
    names = page.evaluate("[...document.querySelectorAll('[role=region]')].map(box => box.ariaLabel)")
    assert len(names) > 20 and len(set(names)) == len(names)


@pytest.mark.parametrize("low", range(-50, -4, 3))
@pytest.mark.parametrize("high", [2, 7, 20])
def test_numbers_under_a_plot_have_room(tmp_path_factory, low, high):
    """On a phone, and where two plots are side by side, a plot is about 96 pixels wide, and a character about 7."""
    verdict = _verdict(tmp_path_factory.getbasetemp() / "room")
    cells = {
        name: replace(cell, comparison=replace(cell.comparison, low=low, high=high))
        for name, cell in verdict.cells.items()
        if cell.comparison
    }
    drawn = forest.plot(replace(verdict, cells=cells))
    assert drawn is not None and len(drawn.ticks) >= 2
    for (left, before), (right, after) in pairwise(drawn.ticks):
        assert 0.96 * (right - left) > 7 * (len(before) + len(after)) / 2


@cache
def _verdict(results: Path) -> RowVerdict:
    return sample_matrix(results).verdicts[0]


def test_caption_names_the_diamond_only_where_there_is_one(tmp_path):
    runs = sample_runs(tmp_path / "results")
    diamond = ", a diamond for the published number</figcaption>"
    assert html.render(build(runs, "xnli", CARD)).count(diamond) == 1  # of two models, one is in the table
    assert html.render(build(runs, "xnli", None)).count(diamond) == 0


def test_long_numbers_beside_a_curve_are_not_cut_off():
    drawn = charts.curves([("seed 1", [(10, 76.32), (20, 76.3375)])])
    [*_, longest] = sorted((label for _, label in drawn.y_axis.ticks()), key=len)
    assert longest.startswith("76.3") and len(longest) > 5
    assert drawn.x_axis.start - 5 >= 6.5 * len(longest)  # units; the font's digits are 11 high and 6.5 wide
    assert charts.curves([("seed 1", [(10, 0.2), (20, 0.9)])]).x_axis.start == charts.LEFT


def in_long_names(results: Path) -> list[StoredRun]:
    """The sample runs with languages of SIB-200, two of which share a name."""
    codes = ["eng_Latn", "knc_Arab", "knc_Latn", "tzm_Tfng", "ajp_Arab", "quy_Latn", "acm_Arab"]
    runs = []
    for run in sample_runs(results):
        scores = dict(zip(codes, run.record.scores.values(), strict=False))
        runs.append(
            replace(run, record=run.record.model_copy(update={"scores": scores, "training_language": codes[0]}))
        )
    return runs


def test_long_names_of_languages_are_whole_beside_dots(chromium, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html.render(build(in_long_names(tmp_path / "results"), "xnli", None)), encoding="utf-8")
    chromium.resize(1280, 900)
    chromium.open(path)
    names = chromium.evaluate(
        "[...document.querySelectorAll('figure svg text[text-anchor=end]')]"
        ".map(text => [text.textContent, text.getBBox().x])"
    )
    starts = [x for name, x in names if name == "Central Kanuri (knc_Latn)"]
    assert len(starts) == 2 and min(x for _, x in names) >= 0


def test_phone_shows_captions_and_a_score_of_each_language(chromium, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html.render(build(in_long_names(tmp_path / "results"), "xnli", None)), encoding="utf-8")
    chromium.resize(360, 800)
    chromium.open(path)
    right = "[...document.querySelectorAll('{}')].map(found => found.getBoundingClientRect().right)"
    assert max(chromium.evaluate(right.format("table.sortable caption"))) <= 360
    assert max(chromium.evaluate(right.format("table.sortable tbody th + td .number"))) <= 360


def test_gap_by_language_names_each_code_once(tmp_path):
    page = html.render(build(in_long_names(tmp_path / "results"), "xnli", None))
    assert '<th scope="row">Central Kanuri <span class="code">knc_Latn</span></th>' in page
    assert "Central Kanuri (knc_Latn) <span" not in page


def test_links_to_rows_of_one_model_tell_them_apart(chromium, tmp_path):
    first, *_ = runs = sample_runs(tmp_path / "results")
    values = {"adaptation": "lora", "lora_rank": 8}
    lora = first.record.recipe.model_copy(update={"overrides": values, "values": first.record.recipe.values | values})
    runs.append(replace(first, record=first.record.model_copy(update={"recipe": lora})))
    path = tmp_path / "report.html"
    path.write_text(html.render(build(runs, "xnli", None)), encoding="utf-8")
    chromium.open(path)
    links = chromium.evaluate("[...document.querySelectorAll('nav a[href^=\"#model\"]')].map(link => link.textContent)")
    assert len(links) == len(set(links)) == 3
    assert any("lora" in link for link in links) and "another" in links
    leads = chromium.evaluate("[...document.querySelectorAll('.worst strong')].map(found => found.textContent)")
    assert len(leads) == len(set(leads)) == 3
