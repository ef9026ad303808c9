"""Accounts for every tensor of a checkpoint's weights: loaded, missing or left over."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from xeval.data.model_files import CHANGED
from xeval.support.errors import ModelError
from xeval.support.files import read_ordinary
from xeval.support.text import counted, one_line

# Prefixes that wrappers add to names: torch.compile at any depth, DistributedDataParallel only at the start.
_WRAPPERS = re.compile(r"^(?:_orig_mod\.|module\.)+|_orig_mod\.")
# Modules next to the encoder that predict something, for pretraining or for a task other than the one to be run.
_HEADS = re.compile(
    r"cls|classif|predict|head|pooler|score|outputs|logit|projector|projection|vocab|relationship|summary|decoder|dense"
    r"|linear|crf|loss|criterion"
)
_ENCODERS = re.compile(r"^(embed|encoder|layer|transformer|block|h$)")
# Numbers that older versions of transformers saved although they follow from the configuration.
_BUFFERS = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq)$")
_ADAPTERS = re.compile(
    r"lora_|ia3_|adapter|base_layer|modules_to_save|prompt_encoder|vera_lambda|magnitude_vector", re.I
)
_SHOWN, _MOST_TENSORS = 3, 100_000

T = TypeVar("T")


class Stored(NamedTuple):
    """A tensor in a file, as the file's header describes it."""

    dtype: str
    shape: tuple[int, ...]


def headers(model: str, files: Iterable[Path]) -> dict[str, Stored]:
    """Return every tensor in `files`, reading only headers. Raise ModelError for a damaged file."""
    stored = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                names = tensors.offset_keys()
                if len(names) > _MOST_TENSORS:
                    raise ModelError(
                        f"model {model}: {file.name} has {len(names):,} tensors; at most {_MOST_TENSORS:,} are read"
                    )
                for name in names:
                    of_name = tensors.get_slice(name)
                    stored[name] = Stored(str(of_name.get_dtype()), tuple(of_name.get_shape()))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"model {model}: {file.name} cannot be read ({one_line(error)[:120]})") from error
    return stored


def refuse_whole_numbers(model: str, stored: dict[str, Stored]) -> None:
    """Raise ModelError for quantized weights, which mean something only together with their scales."""
    others = {
        name: tensor.dtype for name, tensor in stored.items() if tensor.dtype not in ("F64", "F32", "F16", "BF16")
    }
    weights = sorted(name for name in others if name.endswith((".weight", ".bias")))
    if weights:
        raise ModelError(
            f"model {model}: {len(weights)} of its tensors are stored as {others[weights[0]]} (first"
            f" {one_line(weights[0])[:100]}); wanted F32, F16 or BF16, which is what it was before it was quantized"
        )


def read_tensors(model: str, files: Iterable[Path], checksum_of: Mapping[Path, str]) -> dict[str, torch.Tensor]:
    """Return the tensors in `files`, copied into memory so that a later write to a file cannot change them.

    Raise ModelError for a file whose checksum has changed.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            content = read_ordinary(file)
            if file in checksum_of and hashlib.sha256(content).hexdigest() != checksum_of[file]:
                raise ModelError(f"model {model}: {file.name} {CHANGED}")
            of_file = load(content)
            _refuse_others(model, tensors, of_file, file.name)
            tensors |= of_file
        except (SafetensorError, OSError) as error:
            raise ModelError(f"model {model}: {file.name} cannot be read ({one_line(error)[:120]})") from error
    return tensors


def _refuse_others(
    model: str, tensors: Mapping[str, torch.Tensor], of_file: Mapping[str, torch.Tensor], file: str
) -> None:
    """Raise ModelError if a file has other values for one of the `tensors` from earlier files: one would be lost."""
    for name in tensors.keys() & of_file.keys():
        if not _are_equal(tensors[name], of_file[name]):
            raise ModelError(
                f"model {model}: two of its files have {one_line(name)[:100]}, with different values in {file}; remove"
                " those of another checkpoint"
            )


def refuse_two_values(name: str, model: transformers.PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ModelError if the files have two tensors for one of the model's; transformers could take either.

    transformers reads names with and without the model's prefix, and the old names of layer norms.
    """
    names: dict[str, str] = {}
    for key, tensor in tensors.items():
        bare = key.removeprefix(model.base_model_prefix + ".")
        bare = bare.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        other = names.setdefault(bare, key)
        if other != key and not _are_equal(tensor, tensors[other]):
            raise ModelError(
                f"model {name}: its weights have {one_line(other)[:90]} and {one_line(key)[:90]}, which are one tensor"
                " of the model, with different values; save the model again with one of them"
            )


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.float(), other.float())


def without_wrappers(tensors: dict[str, T]) -> dict[str, T]:
    """Return `tensors` under their names without the prefixes of torch.compile and DistributedDataParallel.

    If two names would become equal, all stay as they are.
    """
    bare = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    return bare if len(bare) == len(tensors) else tensors


def refuse_unaccounted(
    name: str, model: transformers.PreTrainedModel, report: dict[str, Any], files: Sequence[Path]
) -> None:
    """Raise ModelError if tensors of the encoder are missing from `files`, have other shapes there, or are unexpected.

    Unexpected are tensors that belong neither to the encoder nor to a known head. transformers fills missing tensors
    with random numbers and drops unexpected ones.
    """
    unequal = sorted(entry for entry in report["mismatched_keys"] if _is_needed(entry[0], model))
    if unequal:
        key, in_file, described = unequal[0]
        raise ModelError(
            f"model {name}: {len(unequal)} of the encoder's tensors have a shape other than config.json's (first"
            f" {one_line(key)[:100]}: {_shape(in_file)} in the weights, {_shape(described)} by config.json)"
        )
    unexpected = sorted(key for key in report["unexpected_keys"] if not is_known(key, model))
    missing = sorted(key for key in report["missing_keys"] if _is_needed(key, model))
    if missing:
        raise ModelError(
            f"model {name}: its weights lack {len(missing)} of the encoder's tensors (first {missing[0]});"
            f" {_called_otherwise(unexpected, headers(name, files))}"
        )
    if unexpected:
        raise ModelError(
            f"model {name}: its weights have {counted(len(unexpected), 'tensors')} for which the model has no place"
            f" ({_some(unexpected)}); {_why(unexpected)}"
        )


def is_of_encoder(key: str, model: transformers.PreTrainedModel) -> bool:
    """Return whether a tensor of `model` belongs to the encoder and not to its head."""
    if model.base_model is not model:
        return key.startswith(model.base_model_prefix + ".")
    root = key.partition(".")[0]  # an encoder without a head, or T5 with one: no common prefix
    return not (_HEADS.search(root) and isinstance(getattr(model, root, None), torch.nn.Linear))


def _is_needed(key: str, model: transformers.PreTrainedModel) -> bool:
    of_encoder = model.base_model_prefix + "." if model.base_model is not model else ""
    return is_of_encoder(key, model) and not key.startswith(of_encoder + "pooler.")


def is_known(key: str, model: transformers.PreTrainedModel) -> bool:
    """Return whether an unused tensor may be ignored: a head's, a pooler's, or one that follows from config.json."""
    prefix = model.base_model_prefix + "."
    bare = key.removeprefix(prefix)
    if _ADAPTERS.search(bare):
        return False
    if _BUFFERS.search(bare) or _is_of_a_decoder_of_masks(bare, model.config):
        return True
    root = bare.partition(".")[0]
    if root == "pooler":
        return True
    is_of_encoder = key != bare or root in dict(model.base_model.named_children()) or _ENCODERS.search(root)
    return not is_of_encoder and bool(_HEADS.search(root))


def _is_of_a_decoder_of_masks(bare: str, config: transformers.PreTrainedConfig) -> bool:
    """Return whether a tensor is DeBERTa's absolute positions, used only in pretraining, to decode masked pieces."""
    return getattr(config, "position_biased_input", True) is False and bare.startswith(
        "embeddings.position_embeddings."
    )


def _called_otherwise(unexpected: Sequence[str], stored: dict[str, Stored]) -> str:
    roots, wrong = {key.partition(".")[0] for key in unexpected}, "the file does not belong to this config.json"
    if len(roots) == 1 and len(unexpected) >= len(stored) // 2:
        root = one_line(roots.pop())[:60]
        return f"{len(unexpected)} names in the file begin with {root}., so save what is inside that module"
    return f"they have {len(unexpected)} others instead ({_some(unexpected)}): {wrong}" if unexpected else wrong


def _why(unexpected: Sequence[str]) -> str:
    if any(_ADAPTERS.search(key) for key in unexpected):
        return "adapters that were never merged: merge them with peft's merge_and_unload and save the model again"
    return "the file does not belong to this config.json"


def _some(keys: Sequence[str]) -> str:
    more = ", …" if len(keys) > _SHOWN else ""
    return ", ".join(one_line(key)[:100] for key in keys[:_SHOWN]) + more


def _shape(shape: Iterable[int]) -> str:
    sizes = list(shape)
    return " × ".join(f"{size:,}" for size in sizes) if sizes else "a single number"


def count_weights(stored: dict[str, Stored]) -> int:
    return sum(math.prod(tensor.shape) for tensor in stored.values())
