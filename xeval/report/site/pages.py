"""A leaderboard → its pages: an index, one page for each model and one for each language.

The pages need no server and no other host. Each contains its style and script, which its content security policy names
by their hashes. Without the script, they are plain tables.
"""

from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup

from xeval.definitions.languages import Language
from xeval.report.page.html import TEMPLATES, environment, hash_of
from xeval.report.site.boards import Board, Line, Site
from xeval.support.errors import StoreError
from xeval.support.files import write_atomically

INDEX = "index.html"
GENERATOR = "xeval site"
"""The generator that the head of each page names."""


def write(site: Site, folder: Path) -> int:
    """Write the pages into `folder`, remove outdated pages of an earlier leaderboard there, and return their number.

    Raises StoreError for a folder that holds anything else, before anything is written.
    """
    _check_folder(folder)
    pages = dict(render(site))
    for name, page in pages.items():
        if name != INDEX:
            write_atomically(folder / name, page.encode())
    write_atomically(folder / INDEX, pages[INDEX].encode())  # last, when all pages that it links to exist
    for old in [*folder.glob("models/*.html"), *folder.glob("languages/*.html")]:
        if old.relative_to(folder).as_posix() not in pages:
            old.unlink()
    return len(pages)


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: wanted a folder for the pages, found a file; name another with --output")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    index = folder / INDEX
    made_here = (
        index.is_file() and f'content="{GENERATOR}' in index.read_text(encoding="utf-8", errors="replace")[:2000]
    )
    if not made_here:
        raise StoreError(f"{folder}: holds files that are not a leaderboard; name an empty folder with --output")


def render(site: Site) -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of each page."""
    yield INDEX, _page("site_index.html.j2", site, "")
    for model, name in site.models.items():
        boards = [(board, own) for board in site.boards if (own := _of_model(board, model))]
        yield name, _page("site_model.html.j2", site, "../", model=model, boards=boards)
    for language, name in site.languages.items():
        boards = [(board, own) for board in site.boards if (own := _in_language(board, language))]
        yield name, _page("site_language.html.j2", site, "../", language=language, boards=boards)


def _page(template: str, site: Site, root: str, **more: object) -> str:
    style = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "site.css"))
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("sort.js", "site.js"))
    written = (
        environment()
        .get_template(template)
        .render(
            site=site,
            root=root,
            generator=GENERATOR,
            style=Markup(style),
            script=Markup(script),
            style_hash=hash_of(style),
            script_hash=hash_of(script),
            **more,
        )
    )
    return f"{written}\n"


def _of_model(board: Board, model: str) -> list[Line]:
    return [line for line in board.ours if line.model == model]


def _in_language(board: Board, language: Language) -> list[Line]:
    """Return the lines that have a number in `language`, the highest first."""
    own = [line for line in board.lines if language.code in line.entries]
    return sorted(own, key=lambda line: (-line.entries[language.code].value, line.name))
