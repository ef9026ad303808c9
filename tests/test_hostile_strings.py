"""Names and texts from models, data and results stay plain text in every format, however hostile they are."""

import csv
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt
from rich.console import Console

from tests.helpers.hostile_report import HOSTILE, LANGUAGES, PLAIN, hostile_matrix
from xeval.definitions.registry import get_task
from xeval.report.formats import Format, render_as, terminal
from xeval.report.formats.model_card import Footprint
from xeval.results.records import Limits
from xeval.support.text import one_line


def rendered(chosen: Format, text: str) -> str:
    limits = Limits() if chosen is Format.MODEL_CARD else None  # a run on part of the rows has no entries for the hub
    written = render_as(chosen, hostile_matrix(text, limits), None, Footprint())
    written.encode()  # it can be written to a file
    return written


def no_control_character(written: str) -> bool:
    """Nothing that a terminal or viewer would act on."""
    return all(character.isprintable() or character == "\n" for character in written)


hostile = pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))


def test_hostile_strings_are_many_and_distinct(figure):
    assert len(set(HOSTILE)) == len(HOSTILE) >= 50
    figure("hostile strings in every text", f"{len(HOSTILE)} in each of {len(Format)} formats and on the terminal")


class Structure(HTMLParser):
    """A page's elements with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.values, self.text = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, [name for name, _ in attributes]))
        self.values += attributes

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}", []))

    def handle_comment(self, data):
        self.elements.append(("comment", []))

    def handle_decl(self, decl):
        self.elements.append((decl, []))

    def handle_data(self, data):
        self.text.append(data)


@hostile
def test_html_structure_is_that_of_a_plain_name(text):
    written = rendered(Format.HTML, text)
    page, plain = Structure(written), Structure(rendered(Format.HTML, PLAIN))
    assert page.elements == plain.elements
    assert all(value.startswith("#") for name, value in page.values if name in ("href", "src"))
    assert [value for name, value in page.values if name == "content"] == [
        value for name, value in plain.values if name == "content"
    ]
    assert one_line(text) in "".join(page.text)
    assert no_control_character(written)


@hostile
@pytest.mark.parametrize("chosen", [Format.MARKDOWN, Format.MODEL_CARD])
def test_markdown_has_no_injected_markup(chosen, text):
    written = rendered(chosen, text)
    assert no_control_character(written)
    if chosen is Format.MODEL_CARD:
        _, metadata, written = written.split("---\n", 2)
        assert yaml.safe_load(metadata)["model-index"][0]["name"] == one_line(text)
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(written)
    kinds = Counter(token.type for token in tokens)
    inline = [token for token in tokens if token.type == "inline"]
    kinds += Counter(child.type for token in inline for child in token.children)
    plain = rendered(chosen, PLAIN).split("---\n", 2)[-1] if chosen is Format.MODEL_CARD else rendered(chosen, PLAIN)
    expected_tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(plain)
    expected = Counter(token.type for token in expected_tokens)
    for kind in ("td_open", "th_open", "tr_open", "list_item_open", "heading_open", "fence", "code_block", "hr"):
        assert kinds[kind] == expected[kind], kind
    for kind in ("html_block", "html_inline", "link_open", "image", "code_inline", "em_open", "s_open"):
        assert kinds[kind] == 0, kind


# What latex.py itself writes; everything else must have been escaped.
LATEX_WORDS = (
    "begin end centering caption resizebox ifdim width linewidth else fi toprule midrule bottomrule par smallskip"
    " footnotesize raggedright textbf textbackslash textasciitilde textasciicircum textless textgreater textbar"
    " textasciigrave textendash textemdash textperiodcentered ldots pm times rightarrow checkmark char thetable"
)
LATEX_COMMANDS = {*LATEX_WORDS.split(), *"\\{}$&#_%,"}


@hostile
def test_latex_has_no_command_but_its_own(text):
    written = rendered(Format.LATEX, text)
    assert no_control_character(written)
    body = written.partition("\n")[2]  # the first line is a comment
    commands = re.findall(r"\\([A-Za-z]+|.)", body)
    assert set(commands) <= LATEX_COMMANDS
    bare = re.sub(r"\\([A-Za-z]+|.)", "", body)
    assert bare.count("{") == bare.count("}") and "#" not in bare and "^" not in bare and "~" not in bare
    assert bare.count("%") == 1  # after \resizebox{…}{…}{
    environments = re.findall(r"\\(begin|end)\{([a-z*]+)\}", body)
    n = 2 if "Notes on Table" in body else 3  # long notes are not in a minipage
    assert Counter(kind for kind, _ in environments) == {"begin": n, "end": n}
    assert len({line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")}) == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
def test_latex_compiles_with_all_hostile_strings(tmp_path):
    tables = "\n".join(rendered(Format.LATEX, text) + r"\clearpage" for text in HOSTILE)
    packages = r"\usepackage{amssymb,booktabs,graphicx}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{tables}\end{{document}}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "-draftmode", "all.tex"]
    process = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=200)
    assert process.returncode == 0, process.stdout.decode(errors="replace")[-2000:]


@hostile
def test_csv_has_its_columns_and_no_formula(text):
    written = rendered(Format.CSV, text)
    assert no_control_character(written)
    header, *rows = csv.reader(io.StringIO(written))
    assert len(rows) == len(set(LANGUAGES) | {text}) and {len(row) for row in rows} == {len(header)}
    assert len(written.splitlines()) == len(rows) + 1
    assert [cell for row in rows for cell in row if re.match(r"[=+\-@＝＋－＠\t\r\n ]", cell)] == []
    assert rows[0][header.index("model")] in (one_line(text), "'" + one_line(text))


@hostile
def test_json_returns_texts_unchanged(text):
    written = rendered(Format.JSON, text)
    assert no_control_character(written)
    report = json.loads(written)
    assert (report["title"], report["runs"][0]["model"], report["runs"][1]["failure"]) == (text, text, text)


@hostile
def test_eval_results_have_one_entry_per_language(text):
    """For a task on the hub; others have no data set to name."""
    written = render_as(Format.EVAL_RESULTS, hostile_matrix(text, Limits()), get_task("xnli"), Footprint())
    assert no_control_character(written)
    entries = yaml.safe_load(written)
    assert len(entries) == len(set(LANGUAGES) | {text})
    assert {key for entry in entries for key in entry} <= {"dataset", "value", "date", "notes"}


@hostile
def test_terminal_shows_hostile_text_literally(text):
    console = Console(file=io.StringIO(), width=3000, highlight=False)
    terminal.show(hostile_matrix(text), console)
    shown = console.file.getvalue()
    assert no_control_character(shown)
    assert one_line(text) in shown
