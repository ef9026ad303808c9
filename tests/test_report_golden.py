"""Every format as last inspected and approved. To renew the files after an intended change:

    XEVAL_RENEW_GOLDEN=1 python -m pytest tests/test_report_golden.py

and inspect what git then shows as changed.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.sample_record import SHA
from tests.helpers.sample_report import TASK, sample_matrix
from xeval.report.formats import Format, render_as
from xeval.report.formats.model_card import Footprint
from xeval.support.findings import error, warning

GOLDEN = Path(__file__).parent / "golden"
ENDINGS = {
    Format.MARKDOWN: "report.md",
    Format.HTML: "report.html",
    Format.LATEX: "report.tex",
    Format.CSV: "report.csv",
    Format.JSON: "report.json",
    Format.MODEL_CARD: "model-card.md",
    Format.EVAL_RESULTS: "eval-results.yaml",
}

FOUND = [
    error("distilmbert hf-2019 seed 2: permuted labels", "42.0 %, but 71.0 % if a_label is read as <b>", "Name them."),
    warning("distilmbert hf-2019 seeds 1, 2: truncated pairs", "th 18.7 %, el 4.2 % of pairs", "Raise --max-length."),
]


@pytest.mark.parametrize("chosen", Format)
def test_report_is_the_approved_one(chosen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # so that the names of the folders are the same everywhere
    matrix = sample_matrix(Path("results"))
    if chosen in (Format.MODEL_CARD, Format.EVAL_RESULTS):
        matrix = _only_the_first_model(matrix)
    matrix = replace(matrix, findings=FOUND)
    text = render_as(chosen, matrix, TASK, Footprint(watts=250, grams_per_kwh=380))
    # The hash of a parquet file depends on the library that wrote it.
    text = re.sub(r'("predictions_sha256": "|&#34;predictions_sha256&#34;: &#34;)[0-9a-f]{64}', rf"\g<1>{SHA}", text)
    path = GOLDEN / ENDINGS[chosen]
    if os.environ.get("XEVAL_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.skip(f"{path.name} was renewed")
    assert text == path.read_text(encoding="utf-8")


def _only_the_first_model(matrix):
    from xeval.report.matrix import build

    first = [run for run in matrix.runs if run.record.model.id == matrix.runs[0].record.model.id]
    return build(first, "xnli", matrix.reference)


def test_every_format_has_one_golden_file():
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(ENDINGS.values())
    assert set(ENDINGS) == set(Format)
