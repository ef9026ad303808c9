"""Everything that the documentation names exists: links, files, commands, options, make targets; and versions agree.

Generated pages are up to date; to renew them: python -m docs.generate
"""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from test_architecture import LAYERS

from docs import generate
from xeval.cli import app
from xeval.definitions import toml
from xeval.results import records
from xeval.support.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
README, MAKEFILE = ROOT / "README.md", (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "xeval").rglob("*.md"), *ROOT.glob(".github/*.md")]
)
COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {"--help", *(word for parameter in command.params for word in parameter.opts)}
    for name, command in COMMANDS.items()
}
OF_ALL_COMMANDS = {word for parameter in typer.main.get_command(app).params for word in parameter.opts}
FOLDERS = ("benchmarks/", "docs/", "results/baselines/", "results/published/", "tasks/", "tests/", "tools/", "xeval/")

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def blocks(page: Path) -> list[str]:
    """Lines of code blocks, without comments; continued lines are joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = "\n".join([*_FENCED.findall(text), *_INDENTED.findall(_FENCED.sub("", text))])
    return [re.sub(r"(^|\s)#.*", "", line) for line in found.splitlines()]


def spans(page: Path) -> list[str]:
    """The text between backticks outside code blocks."""
    text = _INDENTED.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))
    return [" ".join(span.split()) for span in _SPAN.findall(text)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = _INDENTED.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def dead_links(page: Path) -> list[str]:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


def calls(page: Path) -> list[tuple[str, set[str]]]:
    """Each `xeval COMMAND …` in code: the command and its options."""
    code = "\n".join([*blocks(page), *spans(page)])
    found = re.findall(r"(?:^|[\s/])xeval ([a-z][\w-]*)([^\n|;&]*)", code, re.MULTILINE)
    return [(name, set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", rest))) for name, rest in found]


@every_page
def test_every_relative_link_leads_somewhere(page):
    assert dead_links(page) == []


@every_page
def test_every_file_named_exists(page):
    words = [word for span in spans(page) for word in span.split()]
    named = {word for word in words if word.startswith(FOLDERS) and not re.search(r"[<>{}…]", word)}
    assert [name for name in sorted(named) if not list(ROOT.glob(name.rstrip("/")))] == []


@every_page
def test_every_command_and_option_shown_exists(page):
    assert [name for name, _ in calls(page) if name not in COMMANDS] == []
    assert [(name, options - OPTIONS[name]) for name, options in calls(page) if options - OPTIONS[name]] == []
    if page.is_relative_to(ROOT / "xeval"):  # there, options are those of `python -m tools.microcosm…`
        return
    alone = {word for span in spans(page) if span.startswith("--") for word in re.findall(r"--[a-z0-9-]+", span)}
    assert alone - set.union(*OPTIONS.values(), OF_ALL_COMMANDS) == set()


@every_page
def test_every_make_target_shown_exists(page):
    code = "\n".join([*blocks(page), *(span for span in spans(page) if span.startswith("make "))])
    targets = " ".join(re.findall(r"^\s*make ((?:[a-z-]+ ?)+)", code, re.MULTILINE)).split()
    assert [target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)] == []


def test_page_parsers_find_known_content():
    assert "docs/statistics.md#the-gate" in links(README)
    assert "the-gate" in anchors(ROOT / "docs" / "statistics.md")
    assert ("compare", {"--flips"}) in calls(README)
    assert "xeval/runs/" in spans(ROOT / "CONTRIBUTING.md")


# ── the site ──

DOCS = ROOT / "docs"
NAVIGATION = runpy.run_path(str(DOCS / "conf.py"))["NAVIGATION"]


def test_every_page_is_in_navigation_and_index():
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {"index"}
    assert sorted(name for names in NAVIGATION.values() for name in names) == sorted(pages)
    assert set(links(DOCS / "index.md")) == {f"{name}.md" for name in pages}


# ── the pages that are generated ──

GENERATED = generate.pages()


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_pages_are_up_to_date(name):
    as_committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert as_committed == GENERATED[name], "renew it with: python -m docs.generate"


def test_reference_folder_holds_only_generated_pages():
    folder = DOCS / "reference"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(GENERATED)


def test_reference_lists_every_command_and_option():
    page = GENERATED["command-line.md"]
    for name in COMMANDS:
        _, _, section = page.partition(f"\n## `xeval {name}`\n")
        shown = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", section.partition("\n## ")[0]))
        assert {option for option in OPTIONS[name] if option.startswith("-")} - shown == set(), name


def test_reference_lists_every_key_of_every_file():
    page = GENERATED["keys.md"]
    nouns = [*toml.Frozen.__subclasses__(), *records.Recorded.__subclasses__()]
    nouns = [noun for noun in nouns if not noun.__name__.startswith("_")]  # those of records before schema 3
    missing = [(noun.__name__, key) for noun in nouns for key in noun.model_fields if f"\n| `{key}` |" not in page]
    assert missing == []
    tops = {noun.__name__ for noun in generate.FILES.values()}
    assert [noun.__name__ for noun in nouns if noun.__name__ not in tops and f"### {noun.__name__}\n" not in page] == []


def test_keys_show_type_default_and_description():
    page = GENERATED["keys.md"]
    assert "| `learning_rate` | number, above 0 to 1 | required | AdamW's learning rate, after warm-up. |" in page
    assert "| `patience` | whole number, above 0 |  | Selections without improvement before stopping. |" in page
    assert "| `accuracy_percent` | number, from 0 to 100 |  | mean over seeds |" in page  # from a comment
    assert "| `rows` | list: [ReferenceRow](#referencerow), at least 1 | required |  |" in page


def test_every_public_python_name_has_a_section():
    import xeval

    assert [name for name in xeval.__all__ if f"\n## `xeval.{name}`\n" not in GENERATED["python.md"]] == []


# ── the map of the code ──


def on_the_map() -> list[str]:
    """The left column of the map in CONTRIBUTING.md, from top to bottom."""
    _, _, section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A map of the code")
    section = section.partition("\n## ")[0]
    return [
        name for line in section.splitlines() if line.startswith("| `") for name in _SPAN.findall(line.split("|")[1])
    ]


def test_the_map_names_the_layers_in_their_order():
    of_xeval = [name for name in on_the_map() if name.startswith("xeval/")]
    assert of_xeval == ["xeval/__init__.py", "xeval/__main__.py", *(f"xeval/{layer}/" for layer in LAYERS)]


def test_the_map_names_every_folder_outside_xeval():
    beside = {f"{folder.split('/')[0]}/" for folder in FOLDERS} - {"xeval/"}
    assert {name for name in on_the_map() if not name.startswith("xeval/")} == beside


# ── files for other tools ──


def test_the_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (VERSION, project["license"])


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").iterdir()), ids=lambda path: path.stem)
def test_issue_forms_have_no_duplicate_questions(form):
    questions = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert questions["name"] and questions["description"]
    names = [part["id"] for part in questions["body"] if part["type"] != "markdown"]
    assert names and len(names) == len(set(names))


def test_workflow_runs_ci_with_the_documented_actions():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["ci"]["steps"]
    shown = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert [step["uses"] for step in steps if "uses" in step and step["uses"] not in shown] == []
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
