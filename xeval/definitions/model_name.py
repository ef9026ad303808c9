"""What models are called: `mbert`, `organisation/name@revision`, `mini-mbert`, `./my-encoder`."""

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
EMBEDDED_MODELS = ("mini-mbert", "mini-distilmbert")  # they come with xeval, for xnli-mini

Origin = Literal["hub", "local", "embedded"]


@dataclass(frozen=True)
class ModelName:
    """A model as somebody named it. Whether the hub has it is not known yet."""

    id: str  # as records call it: the hub's id, an embedded model's name, or a folder's name
    origin: Origin | None  # None: the id of a model in a results folder, which is all that is known of it
    revision: str | None = None  # of the hub's: commit, tag or branch
    folder: Path | None = None  # of a local model

    @classmethod
    def parse(cls, text: str, recorded: Collection[str] = ()) -> Self:
        """The model that `text` names: a folder, an embedded model, or an alias or hub id, maybe with `@revision`.

        The ids of models in a results folder, where `recorded` gives them, count as names too and come first.
        A bare word that is none of all these is taken for a misspelt alias: hub ids of today are `organisation/name`,
        except for a few old ones that the hub redirects.
        Raises UnknownNameError for such a word, ModelError for a folder that is not there and for a revision of what
        has none.
        """
        if text in recorded:
            return cls(text, None)
        if (folder := _folder(text)) is not None:
            return cls(folder.name, "local", folder=folder)
        name, _, revision = text.partition("@")
        if name in recorded:
            return cls(name, None, revision or None)
        is_path = text.startswith(("/", ".", "~"))
        if name in EMBEDDED_MODELS or ((is_path or "/" not in name) and _folder(name) is not None):
            if revision or name not in EMBEDDED_MODELS:
                raise ModelError(f"model {text}: only models of the hub have revisions; leave out @{revision}")
            return cls(name, "embedded")
        if is_path:
            raise ModelError(f"model {text}: wanted a folder with config.json and *.safetensors, found none there")
        if name not in MODEL_ALIASES and "/" not in name:
            hint = "; for a hub model give organisation/name, for a local one the path of its folder"
            raise UnknownNameError("model", name, [*MODEL_ALIASES, *EMBEDDED_MODELS, *recorded], hint)
        return cls(MODEL_ALIASES.get(name, name), "hub", revision or None)

    def is_of(self, model_id: str, origin: str, revision: str | None) -> bool:
        """Whether this names the recorded model of that id; a commit may be cut off."""
        if self.id != model_id or self.origin not in (None, origin):
            return False
        return self.revision is None or (revision or "").startswith(self.revision)


def _folder(text: str) -> Path | None:
    """The folder of that path, if there is one."""
    try:
        path = Path(text).expanduser()
        return path.resolve() if text and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # longer than any path, of a user who is not there, or no path at all
        return None
