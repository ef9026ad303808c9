"""Sphinx's configuration for the site of these pages (`make docs`); they are plain Markdown and readable without it."""

import os
import re
import runpy
from pathlib import Path

NAVIGATION = {
    "Tutorial": ["tutorial"],
    "How to": [
        "how-to/python",
        "how-to/own-task",
        "how-to/own-tags",
        "how-to/own-answers",
        "how-to/own-retrieval",
        "how-to/own-choices",
        "how-to/own-kind",
        "how-to/own-model",
        "how-to/offline",
        "how-to/adaptation",
        "how-to/score",
        "how-to/site",
        "how-to/push",
        "how-to/rank",
        "how-to/audit",
        "how-to/train-language",
        "how-to/sweep",
        "how-to/probe",
        "ci",
        "how-to/cluster",
    ],
    "Reference": [
        "tasks",
        "reference/command-line",
        "files",
        "reference/keys",
        "reference/python",
        "encoders",
        "transfer",
        "diagnosis",
        "licences",
    ],
    "Explanation": [
        "explanation/zero-shot",
        "explanation/why-tables-differ",
        "statistics",
        "performance",
        "explanation/where-time-goes",
        "reliability",
    ],
}

project = "xeval"
copyright = "The xeval developers"
release = runpy.run_path(str(Path(__file__).parents[1] / "xeval" / "support" / "version.py"))["VERSION"]
html_title = f"xeval {release}"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")  # the version that search engines should show
html_theme = "furo"
html_copy_source = False
extensions = ["myst_parser"]
exclude_patterns = ["*.py"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # would turn an option's two hyphens into a dash
nitpicky = True

_LINK_OUT = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")


def _prepare(app, name, source):
    """Append the navigation to the first page, and unlink files outside docs/, which are not pages of the site."""
    folder = Path(app.srcdir, name).parent

    def unlinked(link):
        inside = (folder / link[2]).resolve().is_relative_to(Path(app.srcdir).resolve())
        return link[0] if inside else link[1]

    source[0] = _LINK_OUT.sub(unlinked, source[0])
    if name == app.config.root_doc:
        for caption, pages in NAVIGATION.items():
            source[0] += "\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n"


def setup(app):
    app.connect("source-read", _prepare)
    return {"parallel_read_safe": True}
