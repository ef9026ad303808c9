"""One table as HTML: a self-contained file without a script, or a part of a notebook."""

from collections.abc import Sequence
from html import escape

from xeval.support.text import one_line


def page(
    title: str,
    heading: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    above: Sequence[str] = (),
    bold: Sequence[bool] = (),
) -> str:
    """Return the whole file. `above` are lines before the table, `notes` lines below, `bold` marks bold rows."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_safe(title)}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid #8886; padding: .3rem .6rem; text-align: right; white-space: nowrap; }}
tr > :first-child {{ background: Canvas; left: 0; max-width: 18rem; min-width: min(17rem, 40vw); position: sticky;
  text-align: left; white-space: normal; }}
.ours {{ font-weight: bold; }}
tr:not(.ours) th[scope=row] {{ font-weight: normal; }}
@media print {{
  @page {{ size: landscape; }}
  .scroll {{ overflow: visible; }}
  th, td {{ font-size: 8pt; padding: .2rem .3rem; white-space: normal; }}
  tr > :first-child {{ min-width: 0; }}
}}
</style>
</head>
<body>
<main>
<h1>{_safe(heading)}</h1>
{_lines(above)}<div class="scroll" role="region" tabindex="0" aria-label="{_safe(heading)}">
{_table(header, rows, bold)}
</div>
{_list(notes)}
</main>
</body>
</html>
"""


def fragment(
    above: Sequence[str], header: Sequence[str] = (), rows: Sequence[Sequence[str]] = (), notes: Sequence[str] = ()
) -> str:
    """Return a part of another page, in that page's style: lines, a table if there are rows, and folded notes."""
    table = _table(header, rows) + "\n" if rows else ""
    folded = f"<details><summary>How to read it</summary>\n{_list(notes)}\n</details>\n" if notes else ""
    return f"{_lines(above)}{table}{folded}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[bool] = ()) -> str:
    head = "".join(f'<th scope="col">{_safe(name)}</th>' for name in header)
    body = "\n".join(
        f'<tr{" class=ours" if place < len(bold) and bold[place] else ""}><th scope="row">{_safe(row[0])}</th>'
        + "".join(f"<td>{_safe(text)}</td>" for text in row[1:])
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _lines(above: Sequence[str]) -> str:
    return "".join(f"<p>{_safe(line)}</p>\n" for line in above)


def _list(notes: Sequence[str]) -> str:
    items = "\n".join(f"<li>{_safe(line)}</li>" for line in notes)
    return f"<ul>\n{items}\n</ul>"


def _safe(text: str) -> str:
    return escape(one_line(text))
