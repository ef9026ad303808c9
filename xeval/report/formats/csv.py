"""Matrix → CSV, a row per run and language, that a spreadsheet shows and never executes."""

import csv
import io
import re
from typing import Any

from xeval.report.frame import COLUMNS, tidy_rows
from xeval.report.matrix import Matrix
from xeval.support.text import one_line

# What a spreadsheet may take for the start of a formula, in full width too (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")


def render(matrix: Matrix) -> str:
    """Fractions, as in the records. Text is quoted and numbers are not; what is not there is empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    for row in tidy_rows(matrix.runs):
        writer.writerow({column: harmless(value) for column, value in row.items()})
    return file.getvalue()


def harmless(value: Any) -> Any:
    """Text on one line, with an apostrophe before what could be taken for a formula; other values as they are."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if _FORMULA.match(text) else text
