"""A PEFT adapter: a folder with weights that were trained in addition to a base model's, and the base's name.

Its adapter_config.json is read here as plain values; nothing in it is treated as code or as a pattern.
"""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xeval.data.model_folder import json_object
from xeval.support.errors import ModelError
from xeval.support.text import is_whole_number, one_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_MERGE = "merge it first with peft's merge_and_unload, save that with save_pretrained, and give its folder"
_TO_SAFETENSORS = (
    'python -c "import torch, safetensors.torch as s;'
    " s.save_file({k: v.clone().contiguous() for k, v in torch.load('adapter_model.bin', 'cpu',"
    " weights_only=True).items()}, 'adapter_model.safetensors')\""
)
_USUAL_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")  # others change the base's weights too
_USUAL_ALPHA = 8  # PEFT's default
_MOST_LABELS = 100_000
_PLAIN_NAME = re.compile(r"[\w.]+")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter (Hu et al. 2021), as its adapter_config.json describes it."""

    folder: Path
    base: str  # as the adapter names it
    base_revision: str | None
    alpha: float
    alphas: dict[str, float] = field(hash=False)  # of single modules, by the ends of their names
    by_root_of_rank: bool  # whether the scale is alpha divided by the root of the rank instead of the rank
    settings: str  # all of adapter_config.json except the base's name and revision

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    @property
    def has_tokenizer(self) -> bool:
        return any(next(self.folder.glob(name), None) for name in _TOKENIZERS)

    @property
    def labels(self) -> dict[int, str]:
        """The labels that the outputs of its head stand for, from a config.json next to it; empty if there is none."""
        names = json_object(self.folder / "config.json", self.folder.name).get("id2label")
        if not isinstance(names, dict) or len(names) > _MOST_LABELS:
            return {}
        return {int(number): str(name) for number, name in names.items() if is_whole_number(number)}

    def scale(self, module: str, rank: int) -> float:
        """Return the factor for the product of the two matrices that is added to the weights of `module`."""
        alpha = next((own for end, own in self.alphas.items() if f".{module}".endswith(f".{end}")), self.alpha)
        return alpha / (math.sqrt(rank) if self.by_root_of_rank else rank)


def is_adapter(folder: Path) -> bool:
    return (folder / CONFIG).exists()


def read_adapter(folder: Path, model: str) -> Adapter:
    """Read the adapter in `folder`. Raises ModelError for one that is incomplete or not plain LoRA."""
    config = json_object(folder / CONFIG, model)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        named = one_line(config.get("model_name") or "an unnamed model")[:120]
        raise ModelError(f"model {model}: PEFT adapter of {named}; wanted base_model_name_or_path in {CONFIG}")
    name = f"model {model}: PEFT adapter of {one_line(base)[:120]}"
    if other := _other_method(config):
        raise ModelError(f"{name}, by {other}; only plain LoRA is read, so {_MERGE}")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{name}: {_without_weights(folder)}")
    alpha, alphas = config.get("lora_alpha", _USUAL_ALPHA), config.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or not all(map(_is_alpha, (alpha, *alphas.values()))):
        raise ModelError(f"{name}: wanted numbers above 0 for lora_alpha and alpha_pattern in {CONFIG}; fetch it again")
    if strays := [key for key in alphas if not _PLAIN_NAME.fullmatch(key)]:
        raise ModelError(f"{name}: alpha_pattern has {one_line(strays[0])[:60]!r}, wanted names of modules; {_MERGE}")
    settings = {key: value for key, value in config.items() if key not in ("base_model_name_or_path", "revision")}
    return Adapter(
        folder,
        base,
        revision if isinstance(revision, str) else None,
        float(alpha),
        {end: float(alpha) for end, alpha in alphas.items()},
        bool(config.get("use_rslora")),
        json.dumps(settings, sort_keys=True),
    )


def _is_alpha(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def _other_method(config: dict[str, Any]) -> str:
    """Return the method it was trained by if merging is more than adding a product to the weights; "" if not."""
    method = config.get("peft_type")
    if method != "LORA":
        return one_line(method or "an unnamed method")[:60]
    begun = config.get("init_lora_weights")
    if not any(begun is usual or (isinstance(begun, str) and begun == usual) for usual in _USUAL_BEGINNINGS):
        return f"LoRA initialised with {one_line(begun)[:60]}"
    others = ("use_dora", "fan_in_fan_out", "layer_replication", "use_qalora", "lora_bias", "use_bdlora")
    return next((f"LoRA with {key}" for key in others if config.get(key)), "")


def _without_weights(folder: Path) -> str:
    if (folder / "adapter_model.bin").exists():
        return (
            "its weights are pickled, and pickles are not loaded because they can run code. Convert them in its folder:"
            f" {_TO_SAFETENSORS}"
        )
    return f"no {WEIGHTS} next to {CONFIG}; fetch it again, or save it again with peft's save_pretrained"
