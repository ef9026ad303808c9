"""Loading checkpoints: as a tokenizer, and as an encoder with a head.

Weights are read only from safetensors, and code that comes with a checkpoint is never run.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save
from transformers import CONFIG_MAPPING, AutoConfig, AutoTokenizer, PretrainedConfig

from xeval.data.model_files import CHANGED, Checkpoint, refuse_absurd_settings, tokenizer_files
from xeval.data.model_folder import weight_files
from xeval.engine.fast_path.packing import counts_from_padding
from xeval.engine.merging import merge_adapter
from xeval.engine.random_numbers import drawn_from
from xeval.engine.tokenizer_files import refuse_incomplete, why_unreadable
from xeval.engine.weights import (
    headers,
    is_of_encoder,
    read_tensors,
    refuse_two_values,
    refuse_unaccounted,
    refuse_whole_numbers,
    without_wrappers,
)
from xeval.kinds.kind import Kind
from xeval.kinds.labels import LabelMatcher
from xeval.support.cache import WEIGHTS
from xeval.support.errors import ClaimError, ModelError, StoreError, XevalError
from xeval.support.files import file_sha256
from xeval.support.process_settings import ProcessSetting
from xeval.support.sealed import sealing
from xeval.support.text import one_line

# While transformers loads a model, it replaces functions of its own and of torch, and then restores what it found.
# If two threads load at once, one restores the other's replacements, and this process never ties weights again.
_loading = threading.RLock()


class _LastTokenizer(threading.local):
    """The tokenizer that a thread loaded last.

    It is kept because checks, the comparison with a plain call and the run each ask for one, and large ones take
    seconds to load. Threads do not share it, because a call in one thread would change its settings in another.
    """

    checkpoint: Checkpoint | None = None
    tokenizer: transformers.PreTrainedTokenizerBase


_last = _LastTokenizer()


def _silence() -> tuple[int, bool]:
    """Turn off transformers' load reports and progress bars; return the previous settings."""
    usual = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return usual


def _speak_again(usual: tuple[int, bool]) -> None:
    verbosity, has_bars = usual
    transformers.logging.set_verbosity(verbosity)
    if has_bars:
        transformers.logging.enable_progress_bar()


_SILENCE = ProcessSetting(_silence, _speak_again)


@contextmanager
def _plain_errors(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn any error of transformers into one line about this checkpoint, and let one thread load at a time."""
    with _loading, failures_named(checkpoint, f"its {what} cannot be loaded"):
        yield


@contextmanager
def failures_named(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn any error that a checkpoint's files cause in libraries into one ModelError that names `what`."""
    try:
        with _SILENCE.changed():
            yield
    except XevalError:
        raise
    except BaseException as error:  # untrusted files cause dozens of kinds of error
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # from a Rust library
            raise
        advice = next((f"; {advice}" for words, advice in _ADVICE.items() if words in str(error)), "")
        raise ModelError(
            f"model {checkpoint.id}: {what} ({type(error).__name__}: {one_line(error)[:200]}){advice}"
        ) from error


# Words in an error message of transformers → what to do.
_ADVICE = {
    "Input language unknown": "add default_language to its config.json, such as en_XX",
    "no padding token is defined": "add pad_token_id to its config.json",
    "out of memory": "free memory, use a smaller model, or use --device cpu",
}


# Types of encoder that came with their own code before transformers supported them → a checkpoint that it can load.
_CONVERTED = {"new": "alibaba-nlp-community/gte-multilingual-base"}


def _config(checkpoint: Checkpoint) -> transformers.PretrainedConfig:
    _refuse_unknown_type(checkpoint)
    # A plan reads config.json before anything is hashed.
    refuse_absurd_settings(checkpoint.folder / "config.json", checkpoint.id)
    with _plain_errors(checkpoint, "config.json"):
        config: transformers.PretrainedConfig = AutoConfig.from_pretrained(
            checkpoint.folder, trust_remote_code=False, local_files_only=True
        )
    return config


def _refuse_unknown_type(checkpoint: Checkpoint) -> None:
    with _plain_errors(checkpoint, "config.json"):
        config, _ = PretrainedConfig.get_config_dict(checkpoint.folder, local_files_only=True)
    model_type = config.get("model_type")
    if not model_type or model_type in CONFIG_MAPPING:
        return
    own_code = ", and its own code is never run" if config.get("auto_map") else ""
    advice = f"use {_CONVERTED[model_type]}" if model_type in _CONVERTED else "use a checkpoint converted for it"
    raise ModelError(
        f"model {checkpoint.id}: it is of type {one_line(repr(model_type))[:60]}, which transformers"
        f" {transformers.__version__} does not have{own_code}; {advice}"
    )


# Types whose tokenizers are written in Python and need extra packages: a tokenizer.json does not replace them.
_SLOW_TOKENIZERS = ("flaubert", "xlm")


def _no_fast_tokenizer(checkpoint: Checkpoint, config: transformers.PreTrainedConfig) -> ModelError:
    advice = "" if config.model_type in _SLOW_TOKENIZERS else "add a tokenizer.json, or "
    return ModelError(
        f"model {checkpoint.id}: no fast tokenizer, and transformers has none for {config.model_type};"
        f" {advice}use another encoder"
    )


def load_tokenizer(checkpoint: Checkpoint, max_length: int) -> transformers.PreTrainedTokenizerBase:
    """Load the checkpoint's own tokenizer.

    Raise ModelError if it cannot be read, is not a fast one, or if the encoder takes fewer than `max_length` pieces.
    """
    config = _config(checkpoint)
    if checkpoint.sha256 and checkpoint == _last.checkpoint:  # a plan reads files without a checksum
        checkpoint.check_unchanged()
    else:
        _last.tokenizer, _last.checkpoint = _read_tokenizer(checkpoint, config), checkpoint
    positions = _positions(config)
    if positions and max_length > positions:
        raise ModelError(f"model {checkpoint.id}: takes {positions} pieces, but max_length is {max_length}; lower it")
    return _last.tokenizer


def _read_tokenizer(checkpoint: Checkpoint, config: PretrainedConfig) -> transformers.PreTrainedTokenizerBase:
    folder = checkpoint.tokenizer_folder
    try:
        with _plain_errors(checkpoint, "tokenizer"):
            of_base = {"config": config} if folder != checkpoint.folder else {}  # an adapter has no config of its own
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **of_base)
    except ModelError as error:
        if config.model_type in _SLOW_TOKENIZERS:
            raise _no_fast_tokenizer(checkpoint, config) from error.__cause__
        reason = why_unreadable(folder)
        raise (ModelError(f"model {checkpoint.id}: {reason}") if reason else error) from error.__cause__
    checkpoint.check_unchanged()
    if not tokenizer.is_fast:
        raise _no_fast_tokenizer(checkpoint, config)
    refuse_incomplete(checkpoint.id, folder, tokenizer)
    return tokenizer


def _positions(config: PretrainedConfig) -> int | None:
    """Return how many pieces the encoder has positions for; None if there is no limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or not getattr(config, "position_biased_input", True):
        return None
    return int(positions) - 2 * counts_from_padding(config)  # RoBERTa's family numbers positions from 2


def longest_input(checkpoint: Checkpoint) -> int | None:
    """Return how many pieces the encoder takes; None if there is no limit."""
    return _positions(_config(checkpoint))


def hidden_size(checkpoint: Checkpoint) -> int | None:
    """Return the encoder's hidden size from its configuration; None if it is not there."""
    size = getattr(_config(checkpoint), "hidden_size", None)
    return size if isinstance(size, int) else None


def count_layers(checkpoint: Checkpoint) -> int:
    """Return the encoder's number of layers from its configuration. Raise ModelError if it is not there."""
    n_layers = getattr(_config(checkpoint), "num_hidden_layers", None)
    if not isinstance(n_layers, int) or n_layers < 1:
        raise ModelError(f"model {checkpoint.id}: its config.json does not say how many layers it has")
    return n_layers


def tied_tensors(checkpoint: Checkpoint) -> dict[str, str]:
    """Return, for the model that config.json says was saved, each tensor's second name → the name that it is tied to.

    The result is empty if the model is not one of transformers' own.
    """
    config = _config(checkpoint)
    name = next(iter(config.architectures or ()), None)
    kind = getattr(transformers, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedModel):
        return {}
    with _plain_errors(checkpoint, "config.json"), torch.device("meta"):  # shapes, without using memory
        return dict(kind(config).all_tied_weights_keys)


def load_pretrained(checkpoint: Checkpoint, kind: Kind, seed: int) -> transformers.PreTrainedModel:
    """Load the pretrained encoder in float32 under a new head for this kind of task, drawn from `seed`.

    A head that comes with the checkpoint is not used, whatever it was trained for.
    """
    _refuse_inflated(checkpoint, kind)
    _refuse_total_dropout(checkpoint)
    names = dict(enumerate(kind.labels))
    of_labels: dict[str, Any] = {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: index for index, label in names.items()},
    }
    with drawn_from(seed), _plain_errors(checkpoint, "weights"):
        model, report = _read(checkpoint, kind, of_labels if names else _outputs_of(kind))
        if _brought_its_head(model, report):
            encoder = {name: tensor for name, tensor in model.state_dict().items() if is_of_encoder(name, model)}
            safely = _SAFELY | {"output_loading_info": False}
            with drawn_from(seed):
                model = type(model).from_pretrained(None, config=model.config, state_dict=encoder, **safely)
    return with_single_choices(model) if kind.head == _CHOICES else model


def brings_pooler(checkpoint: Checkpoint) -> bool:
    """Return whether the checkpoint has weights for a pooler.

    Many encoders that were pretrained only on masked pieces have none.
    """
    return any("pooler." in name for name in headers(checkpoint.id, weight_files(checkpoint.folder, checkpoint.id)))


def brings_head(checkpoint: Checkpoint, model: transformers.PreTrainedModel) -> bool:
    """Return whether the checkpoint has a head of the kind that `model` has, for any labels.

    Training never starts from that head.
    """
    stored = headers(checkpoint.id, weight_files(checkpoint.folder, checkpoint.id))
    return not _of_labels(model).isdisjoint(without_wrappers(stored))


def with_single_choices(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """Return `model`, a multiple-choice model, changed to take and return one choice per row.

    Its head takes (rows, choices, L) and returns (rows, choices). It now takes (B, L), as other models do, and returns
    (B, 1); the kind of task knows which sequences are choices of one row.
    """
    model.register_forward_pre_hook(_as_single_choices, with_kwargs=True)
    return model


def _as_single_choices(
    model: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Add a dimension to the ids, by which alone the model counts choices; it flattens its other inputs to (B, L)."""
    return inputs, options | {"input_ids": options["input_ids"].unsqueeze(1)}


def load_encoder(checkpoint: Checkpoint, kind: Kind) -> transformers.PreTrainedModel:
    """Load the pretrained encoder in float32, without a head."""
    _refuse_inflated(checkpoint, kind)
    with _plain_errors(checkpoint, "weights"):
        model, _ = _read(checkpoint, kind, {})
    return model


class _Use(Protocol):
    """What a checkpoint is loaded for: a kind of task, or the masked-LM probe."""

    @property
    def head(self) -> str: ...

    @property
    def in_words(self) -> str: ...

    @property
    def n_outputs(self) -> int | None: ...


@dataclass(frozen=True)
class _MaskedLM:
    head: str = "AutoModelForMaskedLM"
    in_words: str = "the masked-LM probe"
    n_outputs: int | None = None


def load_masked_lm(checkpoint: Checkpoint) -> transformers.PreTrainedModel:
    """Load the encoder in float32 with the masked-LM head that it was pretrained with.

    Raise ModelError for a checkpoint without that head: a new one would say nothing.
    """
    use = _MaskedLM()
    _refuse_inflated(checkpoint, use)
    with _plain_errors(checkpoint, "weights"):
        model, report = _read(checkpoint, use, {})
    absent = sorted(key for key in report["missing_keys"] if not is_of_encoder(key, model))
    absent += sorted(key for key, *_ in report["mismatched_keys"] if not is_of_encoder(key, model))
    if absent:
        raise ModelError(
            f"model {checkpoint.id}: its weights have no masked-LM head (first missing: {absent[0]}); wanted the"
            " checkpoint as it was pretrained, with the head kept"
        )
    return model


def _read(
    checkpoint: Checkpoint, kind: _Use, settings: Mapping[str, Any], with_head_of_adapter: bool = False
) -> tuple[transformers.PreTrainedModel, dict[str, Any]]:
    """Return the model with all of the encoder's tensors, and a report of what was missing for its head.

    An adapter is merged into the model. Raise ModelError if the encoder is incomplete or if tensors have no place.
    """
    files = weight_files(checkpoint.folder, checkpoint.id)
    if not files:
        raise ModelError(f"model {checkpoint.id}: its model.safetensors {CHANGED}")
    refuse_whole_numbers(checkpoint.id, headers(checkpoint.id, files))
    tensors = without_wrappers(read_tensors(checkpoint.id, files, checkpoint.checksum_of))
    as_stored = dict(tensors)
    # A head for other labels has other sizes, and is replaced.
    model, report = _filled(_head(checkpoint, kind), checkpoint.folder, tensors, settings, ignore_mismatched_sizes=True)
    checkpoint.check_unchanged()
    refuse_unaccounted(checkpoint.id, model, report, files)
    refuse_two_values(checkpoint.id, model, as_stored)
    if checkpoint.adapter is not None:
        names = merge_adapter(checkpoint.id, checkpoint.adapter, model, with_head_of_adapter, checkpoint.checksum_of)
        report["missing_keys"] = set(report["missing_keys"]) - names
        report["mismatched_keys"] = [entry for entry in report["mismatched_keys"] if entry[0] not in names]
    return model, report


def _filled(
    head: Any, folder: Path, tensors: dict[str, torch.Tensor], settings: Mapping[str, Any], **options: bool
) -> tuple[transformers.PreTrainedModel, dict[str, Any]]:
    """Return the model of config.json in `folder`, with these `tensors`, and a report of which were used."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **settings)
    with torch.device("meta"):  # how transformers finds the class of a configuration, without using memory
        of_config = type(head.from_config(config, trust_remote_code=False))
    filled: tuple[transformers.PreTrainedModel, dict[str, Any]] = of_config.from_pretrained(
        None, config=config, state_dict=tensors, **_SAFELY, **options
    )
    return filled


def _brought_its_head(model: transformers.PreTrainedModel, report: dict[str, Any]) -> bool:
    """Return whether the checkpoint had the layer that gives a logit for each label, of this size or of another.

    Other layers of a head may be part of the pretraining, as ModernBERT's are, and then stay as they were loaded.
    """
    return bool(_of_labels(model) - set(report["missing_keys"]))


def _of_labels(model: transformers.PreTrainedModel) -> set[str]:
    """Return the names of the tensors of the layer that gives a logit for each label."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items() if not is_of_encoder(name, model)}
    return {name for name, shape in shapes.items() if shape[:1] == (model.config.num_labels,)}


_CHOICES = "AutoModelForMultipleChoice"
_SAFELY: dict[str, Any] = {
    "trust_remote_code": False,
    "use_safetensors": True,
    "local_files_only": True,
    "dtype": torch.float32,
    "output_loading_info": True,
}


def _outputs_of(kind: _Use) -> dict[str, int]:
    """Return the settings for a head without labels, for which the pretrained configuration may say something else."""
    return {"num_labels": kind.n_outputs} if kind.n_outputs is not None else {}


def _head(checkpoint: Checkpoint, kind: _Use) -> Any:
    """Return the class of transformers that makes a model for this kind of task."""
    head, config = getattr(transformers, kind.head), _config(checkpoint)
    if head is transformers.AutoModel and getattr(config, "is_encoder_decoder", False):
        head = transformers.AutoModelForTextEncoding
    if type(config) not in head._model_mapping:
        raise ModelError(
            f"model {checkpoint.id}: transformers {transformers.__version__} has no {head.__name__} for encoders of"
            f" type {config.model_type}; use another encoder for {kind.in_words}"
        )
    return head


def _refuse_inflated(checkpoint: Checkpoint, kind: _Use) -> None:
    """Raise ModelError if config.json describes many more parameters than the weights have bytes.

    transformers would fill the missing weights with random numbers, as many as config.json asks for.
    """
    config = _config(checkpoint)
    for name, value in _outputs_of(kind).items():
        setattr(config, name, value)
    with _plain_errors(checkpoint, "config.json"), torch.device("meta"):  # shapes, without using memory
        described = _head(checkpoint, kind).from_config(config, trust_remote_code=False)
    n_described = sum(parameter.numel() for parameter in described.parameters())
    stored_bytes = sum(path.stat().st_size for path in weight_files(checkpoint.folder, checkpoint.id))
    if n_described > stored_bytes + 10_000_000:
        raise ModelError(
            f"model {checkpoint.id}: config.json describes {n_described:,} parameters, but the weights are"
            f" {stored_bytes:,} bytes; the two do not belong together"
        )


def _refuse_total_dropout(checkpoint: Checkpoint) -> None:
    """Raise ModelError for a dropout rate of 1 or more, which trains nothing and divides by zero."""
    for key, value in _config(checkpoint).to_dict().items():
        if "drop" in key and isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
            raise ModelError(f"model {checkpoint.id}: its config.json says {key} {value:g}; wanted less than 1")


def load_fine_tuned(
    checkpoint: Checkpoint, kind: Kind, folder: Path | None = None, weights_sha256: str | None = None
) -> transformers.PreTrainedModel:
    """Load a checkpoint that already has its head.

    Load the one in `folder`, whose weights have the SHA-256 `weights_sha256`; without `folder`, load `checkpoint`
    itself. Raise ModelError if the labels of its outputs cannot be determined.
    """
    _refuse_inflated(checkpoint, kind)
    with _plain_errors(checkpoint, "fine-tuned weights"):
        if folder is None:
            model, report = _read(checkpoint, kind, _labels_of_adapter(checkpoint, kind), True)
        else:
            expected = {folder / WEIGHTS: weights_sha256} if weights_sha256 is not None else {}
            tensors = read_tensors(checkpoint.id, [folder / WEIGHTS], expected)
            model, report = _filled(_head(checkpoint, kind), folder, tensors, {})
    if report["missing_keys"] or report["mismatched_keys"]:
        _refuse_unnamed_outputs(checkpoint, kind, model, report)
        raise ModelError(f"model {checkpoint.id}: it has no trained head for this task; xeval run trains one")
    if kind.labels:
        label_columns(checkpoint.id, model.config.id2label or {}, kind)
    return with_single_choices(model) if kind.head == _CHOICES else model


def _refuse_unnamed_outputs(
    checkpoint: Checkpoint, kind: Kind, model: transformers.PreTrainedModel, report: Mapping[str, Any]
) -> None:
    """Raise ModelError for a whole head with an output for each label of the task, of which config.json names others.

    Without id2label, transformers assumes two labels.
    """
    sizes = {(shape[0], own[0]) for _, shape, own in report["mismatched_keys"]}
    n_named = model.config.num_labels
    if kind.labels and not report["missing_keys"] and sizes == {(len(kind.labels), n_named)}:
        raise ModelError(
            f"model {checkpoint.id}: its head has {len(kind.labels)} outputs, but its config.json gives it"
            f" {n_named} labels; name each output in id2label, with {', '.join(kind.labels)} in the order that it was"
            " trained with"
        )


def _labels_of_adapter(checkpoint: Checkpoint, kind: Kind) -> dict[str, Any]:
    """Return what the outputs of an adapter's head mean.

    If no file says so, assume as many as the task's labels, without names.
    """
    if checkpoint.adapter is None or not kind.labels:
        return {}
    names = checkpoint.adapter.labels
    if not names:
        return {"num_labels": len(kind.labels)}
    return {"num_labels": len(names), "id2label": names, "label2id": {name: number for number, name in names.items()}}


def save_fine_tuned(
    model: transformers.PreTrainedModel,
    folder: Path,
    checkpoint: Checkpoint | None = None,
    say: Callable[[str], None] | None = None,
) -> str:
    """Save the weights in `folder`, which appears whole or not at all; return their SHA-256.

    The tokenizer of the fine-tuned `checkpoint`, whose own folder may be deleted, is saved with them. If they cannot be
    saved, `say` is told, and the SHA-256 that the file would have is returned; without `say`, StoreError is raised.
    """
    tokenizer = tokenizer_files(checkpoint.tokenizer_folder) if checkpoint is not None else []
    try:
        with _SILENCE.changed(), sealing(folder) as partial:
            model.save_pretrained(partial, max_shard_size="1000GB")
            for path in tokenizer:
                shutil.copyfile(path, partial / path.name)
        return file_sha256(folder / WEIGHTS)
    except ClaimError:
        raise  # another process is writing there
    except (OSError, SafetensorError, StoreError) as error:
        problem = f"{folder}: fine-tuned weights cannot be kept: {one_line(error)}"
        if say is None:
            raise StoreError(f"{problem}; free space or set XEVAL_CACHE") from error
        say(
            f"{problem}; they are evaluated from memory, and evaluating another language will need another training run"
        )
        return _sha256_in_memory(model)


def save_given(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, folder: Path, name: str
) -> None:
    """Save a program's own model and tokenizer as a checkpoint in `folder`: the same objects give the same bytes.

    Raise ModelError for a model that cannot be saved, and OSError if `folder` cannot be written.
    """
    try:
        with _SILENCE.changed():
            model.save_pretrained(folder, max_shard_size="1000GB")
            tokenizer.save_pretrained(folder)
        _without_last_call(folder / "tokenizer.json")
    except OSError:
        raise
    except Exception as error:  # any kind of model and tokenizer may be given
        raise ModelError(
            f"model {name}: it cannot be saved ({type(error).__name__}: {one_line(error)[:200]})"
        ) from error


def _without_last_call(tokenizer: Path) -> None:
    """Remove the truncation and padding of the tokenizer's last call from its file; every call sets them anew."""
    if tokenizer.is_file():
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        content |= {"truncation": None, "padding": None}
        tokenizer.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")


def _sha256_in_memory(model: transformers.PreTrainedModel) -> str:
    """Return the SHA-256 of the file that the weights would be saved in."""
    seconds = set(model.all_tied_weights_keys)  # second names of tied tensors
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in seconds}
    return hashlib.sha256(save(tensors, {"format": "pt"})).hexdigest()


def label_columns(model: str, id2label: Mapping[Any, str], kind: Kind) -> list[int]:
    """Return the column of the model's logits for each label of the task, matched by name in `id2label`.

    The order of labels differs between checkpoints, so a checkpoint whose labels have no names is refused.
    """
    matcher = LabelMatcher(kind.labels, kind.label_aliases)
    meant = {int(column): matcher.of_name(name) for column, name in id2label.items()}
    if sorted(meant.values(), key=str) != sorted(range(len(kind.labels)), key=str):
        got = one_line(", ".join(str(name) for name in id2label.values()))[:120]
        raise ModelError(
            f"model {model}: {f'its labels are {got}' if got else 'its labels have no names'}; wanted"
            f" {', '.join(kind.labels)}. Name them in id2label of its config.json: their order cannot be guessed"
        )
    if sorted(meant) != list(range(len(meant))):
        numbers = ", ".join(map(str, sorted(meant)))[:120]
        raise ModelError(
            f"model {model}: its labels have the numbers {numbers} in id2label of its config.json; wanted 0 to"
            f" {len(meant) - 1}, since they are the columns of its logits"
        )
    column_of = {label: column for column, label in meant.items()}
    return [column_of[label] for label in range(len(kind.labels))]


def count_encoder_parameters(model: transformers.PreTrainedModel) -> int:
    """Return the number of parameters of the encoder, without the head."""
    return sum(parameter.numel() for parameter in model.base_model.parameters())


def encoder_shape(model: transformers.PreTrainedModel | None) -> dict[str, int]:
    """Return the layers, hidden size and attention heads that the configuration has, named as in `ModelRecord`."""
    names = {"n_layers": "num_hidden_layers", "hidden_size": "hidden_size", "n_attention_heads": "num_attention_heads"}
    values = {name: getattr(model.config, key, None) for name, key in names.items()} if model is not None else {}
    return {name: value for name, value in values.items() if isinstance(value, int)}
