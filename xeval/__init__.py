"""Zero-shot cross-lingual evaluation: fine-tune on English, evaluate elsewhere, compare with the published table.

    run(task, models, ...)      fine-tune and evaluate; returns the records
    reproduce(reference, ...)   run every row of a published table
    score(task, predictions)    score predictions computed elsewhere
    load_results(folder)        load the scores in a results folder as a pandas frame
    report_of(folder)           compare the results with a published table, as text
    compare(a, b)               is B better than A, and where?
    rank(models)                which of many models differ?
    audit(task, model, ...)     is a claimed score true? Reads as few rows as it needs
    check(baseline, folder)     are results worse than a baseline?
    diagnose(folder)            what is wrong with finished runs?
    merge(folders, folder)      merge the results of several machines
    Callback                    receives a run's steps and scores; TensorBoard, WandB and Trackio are built in
    XevalError                  the exception that all of these raise for input that cannot be used

Importing xeval is cheap: torch and pandas are loaded by the first call that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xeval.support.errors import XevalError
from xeval.support.version import VERSION

if TYPE_CHECKING:
    from xeval.report.frame import load_results
    from xeval.report.from_folder import check, compare, diagnose, rank, report_of
    from xeval.results.merge import merge
    from xeval.runs.audit import audit
    from xeval.runs.callbacks import Callback
    from xeval.runs.grid import reproduce, run
    from xeval.runs.loggers import TensorBoard, Trackio, WandB
    from xeval.runs.score_given import score

__version__ = VERSION
__all__ = [
    "Callback",
    "TensorBoard",
    "Trackio",
    "WandB",
    "XevalError",
    "audit",
    "check",
    "compare",
    "diagnose",
    "load_results",
    "merge",
    "rank",
    "report_of",
    "reproduce",
    "run",
    "score",
]

_HOME_OF = {
    "run": "xeval.runs.grid",
    "reproduce": "xeval.runs.grid",
    "score": "xeval.runs.score_given",
    "load_results": "xeval.report.frame",
    "report_of": "xeval.report.from_folder",
    "compare": "xeval.report.from_folder",
    "rank": "xeval.report.from_folder",
    "audit": "xeval.runs.audit",
    "check": "xeval.report.from_folder",
    "diagnose": "xeval.report.from_folder",
    "merge": "xeval.results.merge",
    "Callback": "xeval.runs.callbacks",
    "TensorBoard": "xeval.runs.loggers",
    "Trackio": "xeval.runs.loggers",
    "WandB": "xeval.runs.loggers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'xeval' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
