"""Diagnosis of a finished run: a record and its predictions → findings, each with its evidence and its fix.

The signatures are of mistakes by which people have failed to reproduce published tables; `docs/diagnosis.md` lists them
with their sources. A finding that another one explains is left out. All functions are pure, except `diagnose_run`,
which reads the prediction files.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xeval.checks.after import prediction_signatures, record_signatures
from xeval.checks.after.hurt_languages import check_languages, truncated
from xeval.checks.after.other_definition import misses, other_definition
from xeval.checks.after.prediction_signatures import Predicted
from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.forensics import other_scores
from xeval.judging.verdict import row_of, why_other_numbers
from xeval.kinds.registry import unit_of
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.findings import Finding, wrong

if TYPE_CHECKING:
    import pyarrow as pa

_WRONG_LABELS = {"placeholder labels", "permuted labels"}
_WRONG_ROWS = {"shifted rows", "one file for two languages"}
_NOTHING_LEARNT = _WRONG_LABELS | _WRONG_ROWS | {"training broke down", "too few steps", "collapsed training"}
_NO_COMPARISON = _NOTHING_LEARNT | {"chance outside Latin script", "no transfer", "missing or repeated rows"}
_MEASURED_AGAIN = {"unknown pieces", "pieces per word"}  # on all rows, where preflight took a sample
_OF_TOKENIZERS = ("vocabulary", "capital letters", "accents")
# A finding → those that explain it.
EXPLAINED_BY = {
    "shifted rows": _WRONG_LABELS,
    "another order": _WRONG_LABELS | _WRONG_ROWS,
    "too few steps": _WRONG_LABELS,
    "collapsed training": _NOTHING_LEARNT - {"collapsed training"},
    "one label throughout": _NOTHING_LEARNT | {"chance outside Latin script", "no transfer"},
    "drift to one label": _NOTHING_LEARNT | {"chance outside Latin script", "no transfer"},
    "no better than one label": _NOTHING_LEARNT | {"chance outside Latin script", "no transfer", "another order"},
    "chance outside Latin script": _WRONG_LABELS,
    "no transfer": _WRONG_LABELS,
    "another selection rule": _NO_COMPARISON,
    "low everywhere": _NO_COMPARISON | {"another selection rule"},
}


def diagnose_run(
    run: StoredRun, task: Task | None, reference: Reference | None, believes_counts: bool = False
) -> list[Finding]:
    """Call `diagnose` with the predictions in the run's folder, and look for another definition of a missed score.

    Decoding a file takes ten times as long as checking its checksum. To diagnose many runs, pass `believes_counts`:
    the counts in the records are then trusted, and a file is decoded only if more is needed.
    """
    record = run.record
    published = None
    if reference is not None and not why_other_numbers(reference, record.task, record.metric, task):
        published = row_of(record, reference)
    is_missed = task is not None and published is not None and misses(record, published)
    decodes = not believes_counts or record.computed_elsewhere or is_missed
    predicted, problems, others = _read_predictions(run, decodes, is_missed)
    findings = diagnose(record, predicted, task, published, problems)
    if task is None or published is None or not is_missed or problems or _names(findings) & _NO_COMPARISON:
        return findings
    other = other_definition(run, task, published, others)
    return [*findings, other] if other is not None else findings


def _names(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings}


def diagnose(
    record: RunRecord,
    predicted: Mapping[str, Predicted],
    task: Task | None = None,
    published: ReferenceRow | None = None,
    problems: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return the findings on one run, errors first; none for a healthy one. They include those of preflight.

    `task` tells how many rows there should be, `published` is the row to compare with, and `problems` tells, by
    language, why predictions cannot be read.
    """
    findings = [
        *_of_rows(record, predicted, task, problems or {}),
        *_of_labels(record, {name: own for name, own in predicted.items() if own.n_labels}, task),
        *_of_record(record, published),
        *(finding for finding in record.preflight if finding.name not in _measured_again(record) or not record.scores),
    ]
    return _without_explained(wrong(finding for finding in findings if finding is not None))


def n_causes(record: RunRecord) -> int:
    """Count the causes of wrong numbers that `diagnose` looks for in a run like `record` and its predictions."""
    has_labels = any(score.n_most_predicted is not None for score in record.scores.values())
    looked_for = [_of_rows(record, {}, None, {}), _of_record(record, None)]
    return sum(map(len, looked_for)) + (len(_of_labels(record, {}, None)) if has_labels else 0)


def _of_rows(
    record: RunRecord, predicted: Mapping[str, Predicted], task: Task | None, problems: Mapping[str, str]
) -> list[Finding | None]:
    return [
        prediction_signatures.unreadable_predictions(problems),
        prediction_signatures.missing_or_repeated_rows(record, predicted, _expected_rows(record, task)),
    ]


def _of_labels(record: RunRecord, labelled: Mapping[str, Predicted], task: Task | None) -> list[Finding | None]:
    n_labels = next((own.n_labels for own in labelled.values()), 0)
    of_task = task.labels if task is not None and len(task.labels) == n_labels else ()
    labels = record.labels or of_task or [f"label {number}" for number in range(n_labels)]
    return [
        prediction_signatures.placeholder_labels(labelled),
        prediction_signatures.permuted_labels(record, labelled, labels),
        *(_mistaken_files(labelled) if record.computed_elsewhere else ()),
        prediction_signatures.one_label_throughout(labelled, labels),
        prediction_signatures.drift_to_one_label(labelled, labels, record.training_language),
    ]


def _of_record(record: RunRecord, published: ReferenceRow | None) -> list[Finding | None]:
    tokenized = {
        language: score.tokenization for language, score in record.scores.items() if score.tokenization is not None
    }
    hints = [hint for hint in record.preflight if hint.name in _OF_TOKENIZERS]
    return [
        record_signatures.broken_training(record),
        *(_learning(record) if record.chance is not None else ()),
        *check_languages(tokenized, record.training_language, _max_length(record), unit_of(record.kind)),
        record_signatures.other_selection(record, published),
        record_signatures.low_everywhere(record, published, hints),
    ]


def _measured_again(record: RunRecord) -> set[str]:
    return _MEASURED_AGAIN | {truncated(unit_of(record.kind))}


def _mistaken_files(labelled: Mapping[str, Predicted]) -> list[Finding | None]:
    """Look for mistakes that happen to files of predictions between those who computed them and us."""
    return [
        prediction_signatures.shifted_rows(labelled),
        prediction_signatures.one_file_for_two(labelled),
        prediction_signatures.other_order(labelled),
        prediction_signatures.nothing_but_right(labelled),
    ]


def _learning(record: RunRecord) -> list[Finding | None]:
    return [
        record_signatures.labels_out_of_line(record),
        record_signatures.too_few_steps(record),
        record_signatures.collapsed_training(record),
        record_signatures.chance_outside_latin_script(record),
        record_signatures.no_transfer(record),
        record_signatures.no_better_than_one_label(record),
    ]


def _expected_rows(record: RunRecord, task: Task | None) -> dict[str, int | None]:
    """Return how many test rows there should be by language, as far as the task file states it."""
    if record.computed_elsewhere:
        return {}  # predictions computed elsewhere are matched with the rows before scoring
    expected = task.tested_on(record.limits.test_split).expected_rows if task else None
    return {language: expected.of("test", language) for language in record.scores} if expected else {}


def _without_explained(findings: list[Finding]) -> list[Finding]:
    """Return the first finding of each name, without those that another one explains."""
    names = _names(findings)
    first = {finding.name: finding for finding in reversed(findings)}
    return [
        finding
        for finding in findings
        if first[finding.name] is finding and not EXPLAINED_BY.get(finding.name, set()) & names
    ]


def _max_length(record: RunRecord) -> int | None:
    value = record.recipe.values.get("max_length")
    return value if isinstance(value, int) else None


def _read_predictions(
    run: StoredRun, decodes: bool, with_others: bool
) -> tuple[dict[str, Predicted], dict[str, str], dict[str, Mapping[str, float]]]:
    """Read the predictions of every language that has a score.

    Returns them, why some of them cannot be read, and, `with_others`, their scores by other metrics.
    """
    predicted, problems, others = {}, {}, {}
    for language, score in run.record.scores.items():
        try:
            if score.confusion is not None and not decodes:
                run.check_predictions(language)
                predicted[language] = Predicted.of_counts(score.confusion)
                continue
            table = run.predictions(language, None if with_others else _columns_of(run))
        except StoreError as problem:
            problems[language] = str(problem)
            continue
        if with_others:
            others[language] = other_scores(run.record, table)
        predicted[language] = _decoded(run, table)
    return predicted, problems, others


def _columns_of(run: StoredRun) -> tuple[str, ...] | None:
    """Return the columns to read; None, for all, if nothing names the labels: then the logits tell their number."""
    return ("row", "label", "prediction") if run.record.labels else None


def _decoded(run: StoredRun, table: "pa.Table") -> Predicted:
    from xeval.results.predictions import column, has_labels, has_logits, n_logits  # pyarrow

    if not has_labels(table):
        return Predicted(column(table, "row"))
    rows, gold, predictions = (column(table, name) for name in ("row", "label", "prediction"))
    n_labels = len(run.record.labels or ()) or int(max(gold.max(), predictions.max())) + 1
    if has_logits(table):
        n_labels = n_logits(table)
    return Predicted(rows, gold, predictions, n_labels)
