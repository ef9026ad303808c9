"""Matrix → CSV with a row per run and language. A spreadsheet shows it and executes nothing."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xeval.report.frame import COLUMNS, tidy_rows
from xeval.report.matrix import Matrix
from xeval.support.text import one_line

# May start a formula in a spreadsheet, also in full width (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")


def render(matrix: Matrix) -> str:
    """Render the scores as fractions, as in the records."""
    return csv_table(COLUMNS, tidy_rows(matrix.runs))


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a table as CSV. Text is quoted and harmless, numbers are as they are; missing values are empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: harmless(value) for column, value in row.items()})
    return file.getvalue()


def harmless(value: Any) -> Any:
    """Return text on one line, with an apostrophe if it could be taken for a formula. Other values stay as they are."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if _FORMULA.match(text) else text
