"""How the encoder of a run was adapted to its task (which part of it was trained), as settings and in words."""

from collections.abc import Mapping
from typing import Any


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe values that distinguish its adaptation from full fine-tuning, the only one in old records.

    Two recipes with equal settings are adapted in the same way.
    """
    settings = {key: values.get(key) for key in ("adaptation", "layers_frozen")}
    return {key: value for key, value in settings.items() if value not in (None, "full")}


def in_words(values: Mapping[str, Any]) -> str:
    """Return, in words, what a training run with these recipe values does with the encoder."""
    layers = values.get("layers_frozen")
    if layers is None:
        return {"frozen": "a frozen encoder", "lora": "LoRA"}.get(values.get("adaptation", ""), "full fine-tuning")
    return "frozen embeddings" + (f" and {layers} frozen layer{'s' * (layers > 1)}" if layers else "")
