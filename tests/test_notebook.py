"""docs/notebook.ipynb is committed without outputs, and its cells run; `make notebook` executes it unchanged."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOK = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))
CELLS = [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOK["cells"]]
BRIEFLY = {"max_train=3000": "max_train=64, max_eval=48", '"en", "es", "hi", "th", "zh"': '"en", "es"'}


def test_outputs_are_not_committed():
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert code and [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}


def test_links_lead_to_pages():
    text = "\n".join(source for kind, source in CELLS if kind == "markdown")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert links and [link for link in links if not (DOCS / link).is_file()] == []


def test_cells_run_in_order(tmp_path, monkeypatch):
    """In this process, on fewer rows; the value of a cell's last line is what the cell shows."""
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    for source in (source for kind, source in CELLS if kind == "code"):
        for long, short in BRIEFLY.items():
            source = source.replace(long, short)
        *lines, last = source.splitlines()
        is_value = re.fullmatch(r"[\w.]+(?:\(.*|\[.*)?[^;]", last) and not last.startswith(("import ", " ", ")"))
        exec(compile("\n".join(lines if is_value else [*lines, last]), "notebook", "exec"), names)
        if is_value:
            shown.append(eval(last, names))
    assert [type(one).__name__ for one in shown] == [
        *("Runs", "DataFrame", "Figure", "Report", "Findings", "Comparison", "DataFrame", "RankedModels")
    ]
    assert [len(losses) for losses in names["losses"].of.values()] == [8, 8]
    assert "mini-distilmbert, ours" in shown[0]._repr_html_()
