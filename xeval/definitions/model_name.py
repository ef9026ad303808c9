"""Names of models: `mbert`, `organisation/name@revision`, `mini-mbert`, `./my-encoder`, `mbert=./my-copy`."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from xeval.support.errors import ModelError, UnknownNameError

MODEL_ALIASES = {
    "mbert": "google-bert/bert-base-multilingual-cased",
    "mbert-uncased": "google-bert/bert-base-multilingual-uncased",
    "distilmbert": "distilbert/distilbert-base-multilingual-cased",
    "xlmr-base": "FacebookAI/xlm-roberta-base",
    "xlmr-large": "FacebookAI/xlm-roberta-large",
    "mdeberta": "microsoft/mdeberta-v3-base",
}
# Hub ids known to have pickled weights and no tokenizer.json (keras-hub#2125, DeBERTa#117). They can be run after
# `xeval convert` has made a folder from them.
PICKLED = frozenset({"microsoft/mdeberta-v3-base"})
# Names from before the hub had organisations, still used by papers and scripts → the ids that the hub redirects to.
OLD_NAMES = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bert-base-german-cased": "google-bert/bert-base-german-cased",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "camembert-base": "almanach/camembert-base",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilbert-base-german-cased": "distilbert/distilbert-base-german-cased",
    "distilbert-base-multilingual-cased": "distilbert/distilbert-base-multilingual-cased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilroberta-base": "distilbert/distilroberta-base",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
}
_PUBLISHED = OLD_NAMES | MODEL_ALIASES  # every word that stands for a hub id
EMBEDDED_MODELS = ("mini-mbert", "mini-distilmbert")  # shipped with xeval, for xnli-mini

Origin = Literal["hub", "local", "embedded"]
PublishedBy = Literal["word", "checksum"]  # how it is known which published model a folder holds: the user says so, or
# the files have the same checksum as those of another run, fetched from where the model is published


@dataclass(frozen=True)
class ModelName:
    """A model as the user named it. It has not been looked up on the hub yet."""

    id: str  # as in records: the hub id, an embedded model's name, or a folder's name
    origin: Origin | None  # None if only the id is known, from a results folder
    revision: str | None = None  # of a hub model: commit, tag or branch
    folder: Path | None = None  # of a local model
    published_as: str | None = None  # of a local model: the id of the published model that the user says it is

    @property
    def known_as(self) -> str:
        """The id that recipes know it by, as of a `Checkpoint`."""
        return self.published_as or self.id

    @classmethod
    def parse(cls, text: str, recorded: Collection[str] = ()) -> Self:
        """Parse `text`: a folder, an embedded model, or an alias or hub id, optionally with `@revision`.

        `name=folder` is a folder that the user says holds the published model `name`.
        `recorded` gives the ids of models in a results folder, which count as names too and come first.
        The address of a model's page on the hub stands for its id and the revision in the address. A bare word that is
        none of these counts as a misspelt alias, since current hub ids are `organisation/name`.
        Raises UnknownNameError for such a word, and ModelError for a folder that does not exist, for a revision of a
        model that has none, and for an address of anything else.
        """
        if text in recorded:
            return cls(text, None)
        if (folder := _folder(text)) is not None:
            return cls(folder.name, "local", folder=folder)
        if "=" in text and not text.lower().startswith(("http://", "https://")):
            return cls._said_to_be(*text.split("=", 1))
        name, _, revision = (_of_address(text) or text).partition("@")
        if name in recorded:
            return cls(name, None, revision or None)
        is_path = text.startswith(("/", ".", "~"))
        if name in EMBEDDED_MODELS or ((is_path or "/" not in name) and _folder(name) is not None):
            if revision or name not in EMBEDDED_MODELS:
                raise ModelError(f"model {text}: only models of the hub have revisions; leave out @{revision}")
            return cls(name, "embedded")
        if is_path:
            raise ModelError(
                f"model {text}: wanted a folder with config.json and *.safetensors, found {_instead(text)}"
            )
        if name not in _PUBLISHED and "/" not in name:
            hint = "; for a hub model give organisation/name, for a local one the path of its folder"
            raise UnknownNameError("model", name, [*MODEL_ALIASES, *EMBEDDED_MODELS, *recorded], hint)
        return cls(_PUBLISHED.get(name, name), "hub", revision or None)

    @classmethod
    def published(cls, text: str) -> Self | None:
        """Return the model that is known as `text`, optionally with `@revision`, whatever folders there are."""
        name, _, revision = text.partition("@")
        is_known = name in _PUBLISHED or name in _PUBLISHED.values()
        return cls(_PUBLISHED.get(name, name), "hub", revision or None) if is_known else None

    @classmethod
    def _said_to_be(cls, name: str, path: str) -> Self:
        """Return the folder `path` as one that, the user says, holds the published model `name`."""
        published, folder = cls.parse(name), _folder(path)
        if published.origin == "local" or published.revision is not None:
            raise ModelError(
                f"model {name}={path}: wanted the name of a published model before the =, without a revision; see xeval"
                " list models, or give organisation/name"
            )
        if folder is None:
            raise ModelError(f"model {name}={path}: wanted a folder after the =, found {_instead(path)}")
        return cls(folder.name, "local", folder=folder, published_as=published.id)

    def is_of(self, model_id: str, origin: str, revision: str | None) -> bool:
        """Return whether this names the recorded model with that id; its own revision may be an abbreviated commit."""
        if self.id != model_id or self.origin not in (None, origin):
            return False
        return self.revision is None or (revision or "").startswith(self.revision)


def _folder(text: str) -> Path | None:
    """Return the folder at that path; None if there is none."""
    try:
        path = Path(text).expanduser()
        return path.resolve() if text and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, in the home of an unknown user, or not a path at all
        return None


def _instead(text: str) -> str:
    try:
        is_file = Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # as above
        is_file = False
    return "a file; give the folder that it is in" if is_file else "none there"


_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_VIEWS = ("tree", "blob", "resolve")  # the parts of an address that a revision follows
_OTHER_PAGES = {"datasets": "a data set", "spaces": "a space", "collections": "a collection", "papers": "a paper"}


def _of_address(text: str) -> str | None:
    """Return `organisation/name@revision` for the address of a model's page on the hub, or of a file in the model.

    None if `text` is not an address. Raises ModelError for the address of any other page, and for a sub-folder, since
    models are at the top of their repositories.
    """
    if not (address := _ADDRESS.match(text)):
        if text.lower().startswith(("http://", "https://")):
            raise ModelError(f"model {text}: wanted organisation/name on the hub, got the address of another site")
        return None
    path = re.split("[?#]", text[address.end() :])[0]
    parts = [part for part in re.split("/|%2f", path, flags=re.IGNORECASE) if part]
    if not parts or parts[0] in _OTHER_PAGES:
        other = _OTHER_PAGES[parts[0]] if parts else "no model"
        raise ModelError(f"model {text}: wanted a model's address, got that of {other}; give organisation/name")
    end = 1 if len(parts) > 2 and parts[1] in _VIEWS else 2
    name, view, below = "/".join(parts[:end]), parts[end : end + 1], parts[end + 1 :]
    if not below or view[0] not in _VIEWS:
        return name
    n_parts = 3 if below[0] == "refs" else 1
    revision, inside = "/".join(below[:n_parts]), below[n_parts:]
    if len(inside) > (view[0] != "tree"):
        raise ModelError(
            f"model {text}: wanted a model at the top of {name}, got the sub-folder {inside[0]}; fetch it, and give its"
            " folder here"
        )
    return name if revision == "main" else f"{name}@{revision}"


def short_name(model_id: str) -> str:
    """Return a model's alias, or else the last part of its id."""
    aliases = {hub_id: alias for alias, hub_id in MODEL_ALIASES.items()}
    return aliases.get(model_id, model_id.split("/")[-1])
