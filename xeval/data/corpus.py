"""The rows of one invocation: read once, checked, limited and hashed, and shared by every model and seed.

Rows are read by role. Target languages only ever have the role "test"; training and selection rows are in the training
language.
"""

from functools import cached_property

from xeval.data.source import DataSource, load_rows
from xeval.definitions.task import Task
from xeval.kinds.rows import Rows
from xeval.results.records import Limits

EVAL_SEED = 1  # draws the rows that are evaluated if not all of them are


class Corpus:
    """A task's rows, read when they are first asked for."""

    def __init__(self, source: DataSource, limits: Limits) -> None:
        self.source, self.limits = source, limits
        self.task: Task = source.task
        self._tests: dict[str, Rows] = {}

    @cached_property
    def _all_train(self) -> Rows:
        return load_rows(self.source, self.task.training_language, "train")

    @cached_property
    def train(self) -> Rows:
        return self._all_train.first(self.limits.max_train)

    @cached_property
    def selection(self) -> Rows:
        """All selection rows, whatever split is evaluated. Raises DataError for a task without rows to select on."""
        return load_rows(self.source, self.task.training_language, "selection")

    @property
    def training(self) -> dict[str, Rows]:
        """The rows for a training run, by split: those to train on, and those to select on if the task has any."""
        return {role: getattr(self, role) for role in self.task.training_roles}

    def test(self, language: str) -> Rows:
        if language not in self._tests:
            rows = load_rows(self.source, language, "test")
            self._tests[language] = self.task.of_kind.draw(rows, self.limits.max_eval, EVAL_SEED)
        return self._tests[language]

    def read_from(self, source: DataSource) -> None:
        """From now on, read rows that have not been read yet from `source`, which has more of the same data."""
        self.source = source

    @property
    def read_languages(self) -> frozenset[str]:
        """The languages whose test rows have been read."""
        return frozenset(self._tests)

    def train_rows(self) -> dict[str, int]:
        """Return how many training rows there are, should be, and are used."""
        return {
            "found": len(self._all_train),
            "expected": self.task.expected_rows.train,
            "used": len(self.train),
        }
