"""Where strangers hide code: each canary plants some where a run could come across it.

If it is executed, it creates a folder called `fired`.
"""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import xeval.engine.encoded_cache
from tests.helpers import tiny
from xeval.support.cache import cache_home
from xeval.support.files import write_atomically
from xeval.support.kept_arrays import digest_of


@dataclass(frozen=True)
class Nest:
    """Copies of a fine-tuned checkpoint, its data and its task file, in which a canary is planted."""

    folder: Path
    model: Path
    data: Path
    task: Path
    patch: pytest.MonkeyPatch

    @property
    def fired(self) -> Path:
        return self.folder / "fired"

    def pickled(self) -> bytes:
        return pickle.dumps(_Canary(str(self.fired)))

    def python(self) -> str:
        return f"import os\nos.makedirs({str(self.fired)!r}, exist_ok=True)\n"

    def expression(self) -> str:
        return f"__import__('os').makedirs({str(self.fired)!r})"

    def card(self) -> str:
        return YAML.format(fired=self.fired)

    def template(self) -> str:
        return TEMPLATE.replace("FIRED", str(self.fired))

    def edit(self, path: Path, **changes: object) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def words(self) -> list[object]:
        return ["run", self.task, "--model", self.model, "--data", self.data, "--no-train", "--language", "es"]


class _Canary:
    def __init__(self, fired: str) -> None:
        self.fired = fired

    def __reduce__(self):
        return os.makedirs, (self.fired, 0o777, True)


YAML = """---
license: !!python/object/apply:os.makedirs ["{fired}"]
tags: !!python/name:os.system
---
# A card
"""
TEMPLATE = "{{ cycler.__init__.__globals__.os.makedirs('FIRED') }} {{ 1234567 * 7 }} {0.__class__} ${1234567 * 7} %(x)s"


def _instead_of_weights(name: str) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        (nest.model / "model.safetensors").unlink()
        (nest.model / name).write_bytes(nest.pickled())

    return plant


def _beside_weights(*names: str) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        for name in names:
            (nest.model / name).write_bytes(nest.pickled())

    return plant


def _weights_are_a_pickle(nest: Nest) -> None:
    (nest.model / "model.safetensors").write_bytes(nest.pickled())


def _index_names_a_pickle(nest: Nest) -> None:
    (nest.model / "model.safetensors").rename(nest.model / "part.safetensors")
    (nest.model / "part.bin").write_bytes(nest.pickled())
    index = {"metadata": {}, "weight_map": {"classifier.bias": "part.bin", "classifier.weight": "part.bin"}}
    (nest.model / "model.safetensors.index.json").write_text(json.dumps(index))


def _own_code(file: str, **auto_map: str) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        for name in ("modeling_own", "configuration_own", "tokenization_own", "__init__", "conftest", "sitecustomize"):
            (nest.model / f"{name}.py").write_text(nest.python())
        nest.edit(nest.model / file, auto_map=auto_map)

    return plant


def _config(**changes: object) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        for name in ("modeling_own", "kernel", "own"):
            (nest.model / f"{name}.py").write_text(nest.python())
        nest.edit(nest.model / "config.json", **changes)

    return plant


def _expression(*keys: str) -> Callable[[Nest], None]:
    return lambda nest: nest.edit(nest.model / "config.json", **dict.fromkeys(keys, nest.expression()))


def _tokenizer_class(nest: Nest) -> None:
    (nest.model / "tokenization_own.py").write_text(nest.python())
    nest.edit(nest.model / "tokenizer_config.json", tokenizer_class="tokenization_own.OwnTokenizer")


def _chat_template(nest: Nest) -> None:
    nest.edit(nest.model / "tokenizer_config.json", chat_template=nest.template())
    (nest.model / "chat_template.jinja").write_text(nest.template())


def _generation_code(nest: Nest) -> None:
    (nest.model / "custom_generate").mkdir()
    (nest.model / "custom_generate" / "generate.py").write_text(nest.python())


def _card(place: str) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        for name in ("README.md", "model_card.yaml", "dataset_card.yaml", ".huggingface.yaml"):
            (getattr(nest, place) / name).write_text(nest.card())

    return plant


def _data_set_script(nest: Nest) -> None:
    for name in ("data.py", "xnli.py", "mini-pairs.py", "es/es.py", "__init__.py"):
        (nest.data / name).write_text(nest.python())
    (nest.data / "dataset_infos.json").write_text('{"default": {"builder_name": "data"}}')


def _rewritten(nest: Nest, metadata: dict[str, str | bytes], of_column: dict[str, str | bytes] | None = None) -> None:
    path = nest.data / "es" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    fields = [field.with_metadata(of_column) if of_column else field for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields, metadata={**(table.schema.metadata or {}), **metadata})), path)


def _pickled_arrow_type(nest: Nest) -> None:
    """CVE-2023-47248: old versions of pyarrow unpickled this."""
    name, pickled = "arrow.py_extension_type", nest.pickled()
    _rewritten(nest, {}, {"ARROW:extension:name": name, "ARROW:extension:metadata": pickled})


def _features(nest: Nest) -> None:
    evil = {"_type": nest.expression(), "dtype": nest.expression()}
    features = {"premise": evil, "hypothesis": evil, "label": {"_type": "ClassLabel", "names": list(tiny.LABELS)}}
    _rewritten(nest, {"huggingface": json.dumps({"info": {"features": features}})})


def _metric(value: str) -> Callable[[Nest], None]:
    def plant(nest: Nest) -> None:
        for folder in (nest.folder, nest.folder / "here", nest.folder / "here" / "accuracy"):
            folder.mkdir(exist_ok=True)
            (folder / "accuracy.py").write_text(nest.python())
        if value != "accuracy":
            nest.task.write_text(nest.task.read_text().replace('"accuracy"', f'"{value}"'))

    return plant


def _templates_in_a_task(nest: Nest) -> None:
    text = json.dumps(nest.template())
    nest.task.write_text(f"note = {text}\n" + nest.task.read_text().replace('"Mini pairs"', text))


def _poisoned_encoded_rows(nest: Nest) -> None:
    """With the right checksum, which only somebody with write access to the cache could give them."""
    arrays = np.array([_Canary(str(nest.fired))], dtype=object)
    buffer = nest.folder / "poison.npz"
    np.savez(buffer, **dict.fromkeys(("input_ids", "targets"), arrays), allow_pickle=True)
    content = buffer.read_bytes()
    kept = xeval.engine.encoded_cache.encoded_once

    def poison(key, encode, say):
        path = cache_home() / "encoded" / f"{key}.npz"
        write_atomically(path, content + digest_of(key, content))
        return kept(key, encode, say)

    nest.patch.setattr("xeval.runs.execute.encoded_once", poison)


CANARIES: dict[str, Callable[[Nest], None]] = {
    "a pickle for weights": _instead_of_weights("pytorch_model.bin"),
    "a pickle called model.pt": _instead_of_weights("model.pt"),
    "a pickle called model.ckpt": _instead_of_weights("model.ckpt"),
    "a pickle for TensorFlow": _instead_of_weights("tf_model.h5"),
    "a pickle for Flax": _instead_of_weights("flax_model.msgpack"),
    "a pickle called safetensors": _weights_are_a_pickle,
    "an index that names a pickle": _index_names_a_pickle,
    "a pickle beside the weights": _beside_weights("pytorch_model.bin", "model.pkl"),
    "a pickled adapter": _beside_weights("adapter_model.bin", "adapter_config.json"),
    "a pickled trainer": _beside_weights("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"),
    "a pickled vocabulary": _beside_weights("vocab.pkl", "tokenizer.pkl", "added_tokens.pkl"),
    "a model's own code": _own_code("config.json", AutoModelForSequenceClassification="modeling_own.Own"),
    "an encoder's own code": _own_code("config.json", AutoModel="modeling_own.Own"),
    "a configuration's own code": _own_code("config.json", AutoConfig="configuration_own.Own"),
    "a tokenizer's own code": _own_code("tokenizer_config.json", AutoTokenizer=["tokenization_own.A"] * 2),
    "own code from another repository": _own_code("config.json", AutoModel="evil/repository--modeling_own.Own"),
    "an unknown kind of model with own code": _config(
        model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForSequenceClassification": "modeling_own.Own"}
    ),
    "an attention kernel from the hub": _config(attn_implementation="evil/kernel:own"),
    "a quantizer of its own": _config(quantization_config={"quant_method": "own", "kernel": "own.py"}),
    "an expression for a type": _expression("dtype", "torch_dtype"),
    "an expression for an activation": _expression("hidden_act"),
    "a tokenizer class in a file": _tokenizer_class,
    "a chat template": _chat_template,
    "code for generation": _generation_code,
    "YAML tags in a model's card": _card("model"),
    "YAML tags in a data set's card": _card("data"),
    "a data set script": _data_set_script,
    "a pickled Arrow type": _pickled_arrow_type,
    "expressions in a data set's features": _features,
    "a metric from a path": _metric("./accuracy.py"),
    "a metric from the hub": _metric("evil/accuracy"),
    "a metric's namesake in the folder": _metric("accuracy"),
    "templates in a task": _templates_in_a_task,
    "objects in the cache of encoded rows": _poisoned_encoded_rows,
}
