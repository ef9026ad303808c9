"""Tiny tokenizers and models of three architectures, and made-up rows in five languages."""

import random
from collections.abc import Iterable

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    XLMRobertaTokenizer,
)

from xeval.kinds.pairs import PairClassification, PairKeys
from xeval.kinds.rows import Rows, groups_of

torch.set_num_threads(1)  # with matrices this small, several threads multiply the work on a busy machine

LABELS = ("entailment", "neutral", "contradiction")
KIND = PairClassification(PairKeys(labels=LABELS))
_VOCABULARY = {
    "en": "the small cat sees that old house and a dog sleeps under our big table",
    "de": "die kleine Katze sieht das alte Haus und ein Hund schläft unter unserem großen Tisch",
    "ar": "القطة الصغيرة ترى البيت القديم والكلب ينام تحت طاولتنا الكبيرة",
    "th": "แมว ตัวเล็ก เห็น บ้าน เก่า และ สุนัข นอน ใต้ โต๊ะ ใหญ่ ของเรา",
    "zh": "小 猫 看见 那 座 老 房子 狗 睡 在 我们 的 大 桌子 下面",
}
WORDS = {language: words.split() for language, words in _VOCABULARY.items()}
NOT = {"en": "not", "de": "nicht", "ar": "ليس", "th": "ไม่", "zh": "不"}
UNKNOWN_CHARACTER = "⚘"  # in no vocabulary made here
SIZES = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "xlm-roberta": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    },
}
ARCHITECTURES = tuple(SIZES)

Pair = tuple[str, str, int]


def make_pairs(language: str, n: int, seed: int = 0) -> list[Pair]:
    """(premise, hypothesis, label): three consecutive rows share a premise, as in XNLI, and a negation contradicts."""
    rng = random.Random(f"{language} {n} {seed}")
    space = "" if language in ("th", "zh") else " "
    pairs: list[Pair] = []
    while len(pairs) < n:
        words = [rng.choice(WORDS[language]) for _ in range(rng.randint(4, 24))]
        for label in rng.sample(range(3), 3):
            part = rng.sample(words, rng.randint(2, len(words)))
            if label == 1:
                part = [rng.choice(WORDS[language]) for _ in part]
            if label == 2:
                part.insert(rng.randrange(len(part)), NOT[language])
            pairs.append((space.join(words), space.join(part), label))
    return pairs[:n]


def tiny_tokenizer(architecture: str, texts: Iterable[str] = ()) -> PreTrainedTokenizerBase:
    """The architecture's own kind of tokenizer, with a piece for each character of `texts` or of the rows here."""
    characters = sorted(set("".join(texts or [*_VOCABULARY.values(), *NOT.values()])) - {" "})
    if architecture == "xlm-roberta":
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *characters, *("▁" + c for c in characters), "<mask>"]
        return XLMRobertaTokenizer(vocab=[(piece, -float(rank)) for rank, piece in enumerate(pieces)])
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, do_lower_case=False)


def tiny_model(architecture: str, vocabulary: int, seed: int = 0, **config) -> torch.nn.Module:
    """A classifier with random weights, large enough to distinguish rows; `config` overrides sizes and the like."""
    torch.manual_seed(seed)
    labelled = {"num_labels": len(LABELS)} | config
    return AutoModelForSequenceClassification.from_config(tiny_config(architecture, vocabulary, **labelled))


def tiny_config(architecture: str, vocabulary: int, **changes) -> PretrainedConfig:
    """The configuration of a tiny encoder; `changes` override sizes and the like."""
    is_roberta = architecture == "xlm-roberta"
    settings = {
        "vocab_size": vocabulary,
        "max_position_embeddings": 130 if is_roberta else 128,
        "initializer_range": 0.3,
        "pad_token_id": 1 if is_roberta else 0,
        **SIZES[architecture],
        **({"type_vocab_size": 1} if is_roberta else {}),
        **changes,
    }
    return AutoConfig.for_model(architecture, **settings)


def without_dropout(architecture: str) -> dict[str, float]:
    if architecture == "distilbert":
        return {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    return {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def labelled_pairs(language: str, rows: list[Pair], split: str = "test") -> Rows:
    premises, hypotheses, labels = zip(*rows, strict=True)
    texts = {"premise": premises, "hypothesis": hypotheses}
    return Rows(language, split, texts, np.array(labels, dtype=np.int64), groups_of(premises))
