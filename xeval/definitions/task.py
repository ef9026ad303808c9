"""A task: one benchmark in all its languages, as its file describes it."""

from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError, to_json

from xeval.definitions.toml import FilePattern, Frozen, HubId, LanguageCode, Name, Text
from xeval.kinds.kind import Kind
from xeval.kinds.registry import get_kind
from xeval.support.errors import DefinitionError, XevalError


class Hub(Frozen):
    """The task's data on the hub, at one pinned commit."""

    id: HubId
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    configurations: dict[LanguageCode, Name] = {}
    """Names of configurations that differ from the language code."""


class Splits(Frozen):
    train: Name = "train"
    selection: Name = "validation"
    test: Name = "test"


class Files(Frozen):
    """Where the rows are in a copy as its authors distribute it: paths below --data, with `{language}` for the code.

    `*` and `?` match any characters, as in a shell. Several files that match one path are read in the order of their
    names. Of several paths, the first that matches is used. Test rows of several languages cannot share a path.
    """

    train: tuple[FilePattern, ...] = ()
    selection: tuple[FilePattern, ...] = ()
    test: Annotated[tuple[FilePattern, ...], Field(min_length=1)]


DEV = "dev"  # the name of a task's selection split when it is evaluated
DEFAULT = "default"  # in a table by language, stands for all the others
Count = Annotated[int, Field(gt=0)]
_ONE_FOR_ALL = TypeAdapter[int](Count)
_BY_LANGUAGE = TypeAdapter[dict[str, int]](dict[LanguageCode, Count])


def _one_for_all_or_by_language(value: Any) -> int | dict[str, int]:
    """Check a table as a table and anything else as a number, so that an error is about the form that was meant."""
    try:
        if isinstance(value, dict):
            return _BY_LANGUAGE.validate_python(value, strict=True)
        return _ONE_FOR_ALL.validate_python(value, strict=True)
    except ValidationError as error:
        finding = error.errors()[0]
        raise PydanticKnownError(finding["type"], finding.get("ctx")) from error  # type: ignore[arg-type]  # its own


_counts = PlainValidator(_one_for_all_or_by_language, json_schema_input_type=Count | dict[LanguageCode, Count])
Counts = Annotated[int | dict[str, int], _counts]
CountsIfAny = Annotated[int | dict[str, int] | None, _counts]


TrainingRows = Literal["own", "machine-translated"]


class ExpectedRows(Frozen):
    """Rows in each language. Selection and test must have exactly this many; a training split may be a sample.

    Selection and test are one number for all languages, or a table by language in which `default` stands for all the
    others. An empty table means that copies differ; rows are then not counted.
    """

    train: Count = 0
    """Left out, like `selection`, if the kind of task trains nothing."""
    selection: CountsIfAny = None
    """If absent, the task has no rows to select a checkpoint on, and recipes must keep the last one."""
    test: Counts

    def of(self, role: str, language: str) -> int | None:
        """Return the number of "train", "selection" or "test" rows in `language`; None if it is not known."""
        count: int | dict[str, int] | None = getattr(self, role)
        return count.get(language, count.get(DEFAULT)) if isinstance(count, dict) else count


class Task(Frozen):
    """One benchmark in all its languages. Each kind of task adds keys of its own."""

    model_config = ConfigDict(extra="allow")

    name: Name
    """Its name on the command line and in folders."""
    title: Text
    """The heading of reports."""
    kind: Name
    """What its rows are and how they are scored; each kind has keys of its own."""
    metric: Name
    """The metric shown in tables; one of the kind's."""
    default_recipe: Name
    """The default of --recipe."""
    default_reference: Name | None = None
    """The default of --reference: a published table."""
    training_language: LanguageCode
    """One of the languages, unless it is not tested. Without training, the language of the sentences to look up."""
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1, max_length=500)]
    other_training_rows: TrainingRows | None = None
    """The training rows in the other languages, for --train-language: rows of their own, or machine translations of the
    training language's rows (translate-train). If absent, there are none."""
    tests_training_language: bool = True
    """False if the training rows come from another data set and there are no test rows in their language."""
    licence: Text
    """Licence of the data."""
    citation: Text
    source_url: Text
    """Where the data come from."""
    hub: Hub | None = None
    """If absent, the data are read from --data, or made by xeval itself if `embedded`."""
    files: Files | None = None
    """Where the rows are in a local copy as its authors distribute it."""
    embedded: bool = False
    """Whether the corpus is generated by code that comes with xeval."""
    splits: Splits = Splits()
    """Names of the splits in the data."""
    expected_rows: ExpectedRows
    """Number of rows in each language."""
    averages: dict[Text, Annotated[tuple[LanguageCode, ...], Field(min_length=1)]] = {}
    """Who publishes averages over which languages, if not over all of them."""
    note: str = ""
    """Printed under every report of this task."""

    _of_kind: Kind = PrivateAttr()
    _test_split: str | None = PrivateAttr(default=None)
    _trained_instead: TrainingRows | None = PrivateAttr(default=None)

    @field_validator("kind")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            get_kind(name)
        except XevalError as error:
            raise ValueError(str(error)) from error
        return name

    @model_validator(mode="after")
    def _consistent(self) -> "Task":
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: one is listed twice")
        for whose, languages in self.averages.items():
            if strays := set(languages) - set(self.languages):
                raise ValueError(f"averages of {whose}: {min(strays)!r} is not among the languages")
        kind, own = get_kind(self.kind), self.__pydantic_extra__ or {}
        self._check_training(kind)
        for role in ("selection", "test"):
            self._check_count(role)
        self._check_files()
        try:
            kind.measure(self.metric)
        except XevalError as error:
            raise ValueError(f"metric: {error}") from error
        keys = kind.keys_model.model_validate_json(to_json(own))
        own.update(keys.model_dump())  # with their defaults
        self._of_kind = kind(keys)
        return self

    def _check_training(self, kind: type[Kind]) -> None:
        """Raise ValueError, for a kind that trains, if the training language contradicts `tests_training_language`.

        Raise it too if the number of training rows is missing.
        """
        if not kind.trains:
            return
        if self.tests_training_language != (self.training_language in self.languages):
            among = "not among the languages" if self.tests_training_language else "among the languages, yet not tested"
            raise ValueError(f"training_language {self.training_language!r} is {among}; see tests_training_language")
        if not self.expected_rows.train:
            raise ValueError("expected_rows.train: Field required")

    def _check_count(self, role: str) -> None:
        """Raise ValueError for a table of counts that names an unknown language, or lacks one whose rows are read."""
        counts: int | dict[str, int] | None = getattr(self.expected_rows, role)
        if not isinstance(counts, dict) or not counts:
            return
        known = {*self.languages, self.training_language}
        strays = [language for language in counts if language not in {*known, DEFAULT}]
        if strays:
            raise ValueError(f"expected_rows.{role}: {strays[0]!r} is not among the languages")
        read = self.languages if role == "test" else (self.training_language,)
        lacking = [language for language in read if self.expected_rows.of(role, language) is None]
        if lacking:
            raise ValueError(f"expected_rows.{role}: no number for {lacking[0]!r}; add it, or {DEFAULT}")

    def _check_files(self) -> None:
        """Raise ValueError if one file would be read as the test rows of several languages."""
        patterns = self.files.test if self.files and len(self.languages) > 1 else ()
        if (same := next((pattern for pattern in patterns if "{language}" not in pattern), None)) is not None:
            raise ValueError(
                f"files.test: {same!r} is the same for each language; wanted a file for each, named by {{language}}"
            )

    def tested_on(self, split: str | None) -> "Task":
        """Return the task with another split in place of its test split; for None, or its test split, the task itself.

        `split` is the split's name in the data; "dev", "validation" and "selection" also stand for the selection split.
        How many rows any other split has is not known. Raises DefinitionError if a task without a selection split is
        asked for it.
        """
        if split in (None, self.splits.test):
            return self
        on_selection = split in (DEV, "validation", "selection", self.splits.selection)
        if on_selection and not self.has_selection:
            raise DefinitionError(f"task {self.name} has no split {split!r}; leave out --test-split")
        if on_selection:
            splits = {"test": self.splits.selection}
            rows = {"test": self.expected_rows.selection}
            files = {"test": self.files.selection} if self.files else {}
        else:
            splits, rows, files = {"test": split}, {"test": {}}, {"test": ()}
        changed = {
            "splits": self.splits.model_copy(update=splits),
            "expected_rows": self.expected_rows.model_copy(update=rows),
            "files": self.files and self.files.model_copy(update=files),
        }
        task = self.model_copy(update=changed)
        task._test_split = DEV if on_selection else split
        return task

    def trained_on(self, language: str | None) -> "Task":
        """Return the task with another training language; for None, or the language it has, the task itself.

        How many training rows there are in another language is not known. Raises DefinitionError for a task without
        training rows in `language`.
        """
        if language in (None, self.training_language):
            return self
        if self.other_training_rows is None:
            raise DefinitionError(
                f"task {self.name} has training rows in {self.training_language} alone; leave out --train-language"
            )
        task = self.model_copy(
            update={
                "training_language": language,
                "tests_training_language": True,
                "expected_rows": self.expected_rows.model_copy(update={"train": 0}),
            }
        )
        task._trained_instead = self.other_training_rows
        return task

    @property
    def trained_instead(self) -> TrainingRows | None:
        """What the training rows are if they are not in the task's own training language; None if they are."""
        return self._trained_instead

    @property
    def test_split(self) -> str | None:
        """The split that is evaluated in place of the test split ("dev" for the selection split); None for no other."""
        return self._test_split

    @property
    def of_kind(self) -> Kind:
        """The kind of this task, bound to the task's own keys."""
        return self._of_kind

    @property
    def training_roles(self) -> tuple[str, ...]:
        """The splits that a training run reads: rows to train on, and rows to select on if there are any."""
        return ("train", "selection") if self.has_selection else ("train",)

    @property
    def has_selection(self) -> bool:
        """Whether there are rows to select a checkpoint on."""
        return self.expected_rows.selection is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels, in order; empty for a kind without labels."""
        return self._of_kind.labels

    def configuration(self, language: str) -> str:
        """Return the name of the hub's configuration (and of the folder in a local copy) for `language`."""
        return self.hub.configurations.get(language, language) if self.hub else language
