"""Checks whether a checkpoint's tokenizer was made from all the files that it needs.

If files are missing, transformers makes a tokenizer of those that are there, possibly one without a vocabulary.
"""

import json
from collections.abc import Callable
from pathlib import Path

import transformers

from xeval.support.errors import ModelError
from xeval.support.files import visible


def why_unreadable(folder: Path) -> str | None:
    """Return what is missing if no tokenizer could be made; None if the cause is not a missing file."""
    if _has_whole_file(folder):
        return None
    models = [path.name for path in visible(folder, "*.model")]
    if models:
        return (
            f"no tokenizer.json, and {models[0]} is read only with the packages sentencepiece and protobuf; install"
            " them, or add tokenizer.json"
        )
    vocabularies = [name for name in ("vocab.txt", "vocab.json") if (folder / name).exists()]
    hint = f" ({' and '.join(vocabularies)} alone is not enough)" if vocabularies else ""
    return f"no tokenizer files{hint}; add those published with it, tokenizer.json at least"


def refuse_incomplete(model: str, folder: Path, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    """Raise ModelError for a tokenizer that lacks files.

    It may lack a vocabulary, merges, or a setting that its vocabulary shows to be needed.
    """
    if _has_whole_file(folder):
        return
    names = [name for use, name in tokenizer.vocab_files_names.items() if use != "tokenizer_file"]
    pieces = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens) - set(tokenizer.get_added_vocab())
    if len(pieces) < 2 or ("merges.txt" in names and not (folder / "merges.txt").is_file()):  # one may be a lone "▁"
        alternatives = " or ".join(filter(None, ["tokenizer.json", " and ".join(names)]))
        raise ModelError(f"model {model}: no tokenizer files; wanted {alternatives}, as published with it")
    if "vocab.txt" in names and "do_lower_case" not in _settings(folder):
        normalizer = tokenizer.backend_tokenizer.normalizer
        if normalizer is not None and normalizer.normalize_str("A") == "a" and any(p != p.lower() for p in pieces):
            raise ModelError(
                f"model {model}: vocab.txt has capital letters, and nothing says that the tokenizer keeps them; add the"
                ' published tokenizer_config.json, or write {"do_lower_case": false} into one'
            )


def split_by_files(model: str, folder: Path, unknown: str | None) -> Callable[[str], list[str]]:
    """Return how the vocabulary in `folder` splits a text, by other code than that behind fast tokenizers.

    Raise ModelError if there is no vocabulary to compare with.
    """
    models = visible(folder, "*.model")
    if models:
        return _split_by_sentencepiece(model, models[0], unknown)
    if not (folder / "vocab.txt").is_file():
        raise ModelError(
            f"model {model}: no vocab.txt or sentencepiece model to make a tokenizer.json from; add the one that was"
            " published with it"
        )
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    settings = {name: value for name, value in _settings(folder).items() if name in names}
    slow = BertTokenizerLegacy(str(folder / "vocab.txt"), unk_token=unknown, **settings)
    split: Callable[[str], list[str]] = slow.tokenize
    return split


def _split_by_sentencepiece(model: str, file: Path, unknown: str | None) -> Callable[[str], list[str]]:
    try:
        import sentencepiece
    except ImportError as error:
        raise ModelError(
            f"model {model}: {file.name} is read only with the packages sentencepiece and protobuf; install them"
        ) from error
    processor = sentencepiece.SentencePieceProcessor(model_file=str(file))

    def split(text: str) -> list[str]:
        pieces = processor.encode(text, out_type=str)
        return [str(unknown) if processor.piece_to_id(piece) == processor.unk_id() else piece for piece in pieces]

    return split


def _has_whole_file(folder: Path) -> bool:
    """Return whether there is a tokenizer.json, or one for some version of transformers, such as tokenizer.4.0.json."""
    return any(folder.glob("tokenizer.*json"))


def _settings(folder: Path) -> dict[str, object]:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}
