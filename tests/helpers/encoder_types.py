"""A tiny checkpoint of every type of encoder that a multilingual user may bring, each with its own kind of tokenizer.

Settings that change the computation are those of published checkpoints: sliding windows narrower than a row, fewer
heads for keys than for queries, relative positions, embeddings narrower than layers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import AutoConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.helpers.checkpoints import NOT, WORDS, tiny_tokenizer

_CHARACTERS = sorted(
    {character for words in WORDS.values() for character in "".join(words)} | set("".join(NOT.values()))
)


def _unigram(make: Callable[..., PreTrainedTokenizerBase], special: Sequence[str]) -> PreTrainedTokenizerBase:
    pieces = [*special, "▁", *_CHARACTERS, *("▁" + character for character in _CHARACTERS)]
    return make(vocab=[(piece, -float(rank)) for rank, piece in enumerate(pieces)])


def _bytes(make: Callable[..., PreTrainedTokenizerBase], special: Sequence[str]) -> PreTrainedTokenizerBase:
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    return make(vocab={piece: number for number, piece in enumerate([*special, *alphabet])}, merges=[])


def _byte_level(before: str, after: str, padding: str) -> PreTrainedTokenizerBase:
    """As in checkpoints whose type has no tokenizer class: `tokenizer.json` says everything."""
    special = [padding, before, after, "<unk>"]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*special, *alphabet])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{before} $A {after}",
        pair=f"{before} $A {after} $B {after}",
        special_tokens=[(piece, vocabulary[piece]) for piece in (before, after)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=padding, cls_token=before, sep_token=after, unk_token="<unk>"
    )


def _bert() -> PreTrainedTokenizerBase:
    return tiny_tokenizer("bert")


def _xlmr() -> PreTrainedTokenizerBase:
    return tiny_tokenizer("xlm-roberta")


def _roberta() -> PreTrainedTokenizerBase:
    return _bytes(transformers.RobertaTokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def _albert() -> PreTrainedTokenizerBase:
    return _unigram(transformers.AlbertTokenizer, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])


def _rembert() -> PreTrainedTokenizerBase:
    return _unigram(transformers.RemBertTokenizer, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])


def _deberta() -> PreTrainedTokenizerBase:
    return _unigram(transformers.DebertaV2Tokenizer, ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])


def _t5() -> PreTrainedTokenizerBase:
    return _unigram(transformers.T5Tokenizer, ["<pad>", "</s>", "<unk>"])


def _mpnet() -> PreTrainedTokenizerBase:
    pieces = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *_CHARACTERS, *("##" + c for c in _CHARACTERS)]
    return transformers.MPNetTokenizer(vocab={piece: n for n, piece in enumerate(pieces)}, do_lower_case=False)


def _modernbert() -> PreTrainedTokenizerBase:
    return _byte_level("[CLS]", "[SEP]", "[PAD]")


def _eurobert() -> PreTrainedTokenizerBase:
    return _byte_level("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>")


_FROM_PADDING = {"pad_token_id": 1, "max_position_embeddings": 130, "type_vocab_size": 1}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
_DEBERTA = {
    "relative_attention": True,
    "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_NARROW_WINDOWS = {"local_attention": 16, "global_attn_every_n_layers": 3, "reference_compile": False}

_RATES = (
    *("attention_dropout", "attention_probs_dropout_prob", "classifier_dropout", "classifier_dropout_prob", "dropout"),
    *("dropout_rate", "embedding_dropout", "hidden_dropout_prob", "mlp_dropout", "qa_dropout", "seq_classif_dropout"),
    "summary_last_dropout",
)
NO_DROPOUT = dict.fromkeys(_RATES, 0.0)

T5_LIKE = ("mt5", "t5", "umt5")

TYPES: dict[str, tuple[Callable[[], PreTrainedTokenizerBase], dict[str, Any]]] = {
    "albert": (_albert, {"embedding_size": 8}),
    "bert": (_bert, {}),
    "camembert": (_xlmr, _FROM_PADDING),
    "deberta-v2": (_deberta, _DEBERTA),
    "distilbert": (_bert, {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24}),
    "electra": (_bert, {"embedding_size": 8}),
    "ernie": (_bert, {}),
    "eurobert": (_eurobert, {"num_key_value_heads": 1}),
    "gte": (_xlmr, {"pad_token_id": 1, "type_vocab_size": 1}),
    "jina_embeddings_v3": (_xlmr, {"pad_token_id": 1, "type_vocab_size": 1}),
    "modernbert": (_modernbert, _NARROW_WINDOWS),
    "mpnet": (_mpnet, {"pad_token_id": 1, "max_position_embeddings": 130}),
    "mt5": (_t5, _T5),
    "nomic_bert": (_bert, {}),
    "rembert": (_rembert, {"input_embedding_size": 8, "output_embedding_size": 12}),
    "roberta": (_roberta, _FROM_PADDING),
    "t5": (_t5, _T5),
    "umt5": (_t5, _T5),
    "xlm-roberta": (_xlmr, _FROM_PADDING),
    "xlm-roberta-xl": (_xlmr, _FROM_PADDING),
}


def tiny_config(model_type: str, tokenizer: PreTrainedTokenizerBase, **more: Any) -> transformers.PretrainedConfig:
    """Small, but large enough to distinguish rows."""
    _, own = TYPES[model_type]
    named = {
        "bos_token_id": "cls",
        "cls_token_id": "cls",
        "eos_token_id": "sep",
        "sep_token_id": "sep",
        "pad_token_id": "pad",
    }
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "initializer_range": 0.3,
        "max_position_embeddings": 128,
        **({"type_vocab_size": 2} if hasattr(transformers.CONFIG_MAPPING[model_type](), "type_vocab_size") else {}),
        **{key: getattr(tokenizer, f"{name}_token_id") for key, name in named.items()},
        **own,
        **more,
    }
    if tokenizer.sep_token_id is None:  # T5
        settings |= {"eos_token_id": tokenizer.eos_token_id, "sep_token_id": None}
    return AutoConfig.for_model(model_type, **settings)


def tiny_checkpoint(folder: Path, model_type: str, **config: Any) -> Path:
    """Save the encoder alone, with random weights, and its tokenizer as a checkpoint."""
    make_tokenizer, _ = TYPES[model_type]
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(tiny_config(model_type, tokenizer, **config))
    if model_type in T5_LIKE:  # its initial weights ignore initializer_range
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
