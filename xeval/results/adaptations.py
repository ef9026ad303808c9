"""How the encoder of a run was adapted to the task: what of it was trained, in words, and whether two did the same."""

from collections.abc import Mapping
from typing import Any

FULL = "fully fine-tuned"


def of_values(values: Mapping[str, Any]) -> str:
    """What a recipe with these values trains. Records from before there was a choice trained everything."""
    layers = values.get("layers_frozen")
    if layers is not None:
        return "embeddings frozen" if layers == 0 else f"embeddings and lowest {layers} layer{'s' * (layers > 1)} frozen"
    named = {"full": FULL, "frozen": "encoder frozen", "lora": "LoRA"}
    return named[values.get("adaptation", "full")]


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a recipe's values that tell its adaptation from full fine-tuning."""
    kept = {"adaptation": values.get("adaptation"), "layers_frozen": values.get("layers_frozen")}
    return {key: value for key, value in kept.items() if value not in (None, "full")}
