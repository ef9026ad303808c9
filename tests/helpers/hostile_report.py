"""Results in which every text that can come from outside is hostile."""

from pathlib import Path

from tests.helpers.sample_record import INVOCATION, SHA, environment, run_record, score
from xeval.report import matrix
from xeval.results import records
from xeval.results.store import StoredRun
from xeval.support.findings import warning

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "</title><title>x",
    "</pre></details></main><h1>x</h1>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<!-- x",
    "-->",
    "<![CDATA[x]]>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;b&#62;",
    "javascript:alert(1)",
    "<https://example.org>",
    "{{7*7}}",
    "{% include '/etc/passwd' %}",
    "{# x #}",
    "${7*7}",
    "$(id)",
    "`id`",
    "``",
    "```",
    "a|b",
    "|",
    "\\|",
    "\\",
    "a\\",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "[x]: https://example.org",
    "*b*",
    "**b**",
    "_i_",
    "~~s~~",
    "# h",
    "- x",
    "1. x",
    "> q",
    "---",
    "***",
    "[bold]x[/bold]",
    "[/]",
    "[link=https://example.org]x[/link]",
    "[red",
    "\\[bold]",
    r"\input{/etc/passwd}",
    r"\write18{id}",
    r"\end{tabular}\end{document}",
    r"\\",
    r"[2em]",
    "%",
    "a%b & c_d^e~f#g{h}i$j",
    "}}",
    "$x$",
    "^^5cinput",
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    '","x","y',
    "a;b,c",
    "a\nb",
    "a\r\nb",
    "a\0b",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://example.org\x07x\x1b]8;;\x07",
    "\x9b31m",
    "\x07\x08\x7f",
    "a\u202egnp.exe",
    "\u2066x\u2069",
    "\u200b\u200d\ufeff",
    "a\u2028b\u2029c",
    "\ufffe",
    "💣 ภาษาไทย العربية 中文",
    "é" * 10 + "x" * 400,
    "null",
    "no: yes",
    "!!python/object/apply:os.system [id]",
    "&anchor *alias",
    "../../etc/passwd",
    " ",
    "",
]
PLAIN = "plain"
LANGUAGES = {"en": 0.8, "es": 0.7, "zh": 0.6}


def hostile_matrix(text: str, limits: records.Limits | None = None) -> matrix.Matrix:
    """Results in which every text that can come from outside is `text`, including the name of the last language."""
    made = matrix.build(hostile_runs(text, limits), text, None)
    made.findings.append(warning(text, text, text))
    return made


def hostile_runs(text: str, limits: records.Limits | None = None) -> list[StoredRun]:
    """The runs of `hostile_matrix`: a complete one and a failed one."""
    limited = {"limits": limits} if limits else {}
    made_with = environment(
        versions={"xeval": text, "torch": text, "transformers": text}, hardware={"cpu": text, "gpu": text}, commit=text
    )

    def run(seed: int, **also) -> records.RunRecord:
        return run_record(
            task=text,
            task_title=text,
            task_note=text or PLAIN,
            seed=seed,
            model=records.ModelRecord(
                id=text, origin="local", revision=text, sha256=SHA, n_parameters=1, architecture=text
            ),
            recipe=records.RecipeRecord(name=text, values={text: text, "learning_rate": text}, overrides={text: text}),
            data=records.DataRecord(source=text, revision=text, sha256={}, train_rows={}),
            dtype=text,
            labels=[text, text + "2"],
            invocations={INVOCATION: records.Invocation(environment=made_with)},
            **also | limited,
        )

    failure = records.Failure(reason=text, invocation=INVOCATION)
    scores = {language: score(accuracy) for language, accuracy in LANGUAGES.items()} | {text: score(0.5)}
    return [
        StoredRun(Path("results"), run(1, scores=scores)),
        StoredRun(Path(f"results/{text}"), run(2, status="failed", failures={"train": failure}, scores={})),
    ]
