"""One table as an HTML file that needs nothing else: no network, no other file, no script."""

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
    """The whole file. `above` are lines before the table, `notes` those below; `bold` says which rows stand out."""

    head = "".join(f'<th scope="col">{_safe(name)}</th>' for name in header)
    body = "\n".join(
        f'<tr{" class=ours" if place < len(bold) and bold[place] else ""}><th scope="row">{_safe(row[0])}</th>'
        + "".join(f"<td>{_safe(text)}</td>" for text in row[1:])
        + "</tr>"
        for place, row in enumerate(rows)
    )
    items = "\n".join(f"<li>{_safe(line)}</li>" for line in notes)
    lines = "".join(f"<p>{_safe(line)}</p>\n" for line in above)
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
tr > :first-child {{ text-align: left; }}
.ours {{ font-weight: bold; }}
tr:not(.ours) th[scope=row] {{ font-weight: normal; }}
</style>
</head>
<body>
<h1>{_safe(heading)}</h1>
{lines}<div class="scroll" role="region" tabindex="0" aria-label="{_safe(heading)}">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</div>
<ul>
{items}
</ul>
</body>
</html>
"""


def _safe(text: str) -> str:
    return escape(one_line(text))
