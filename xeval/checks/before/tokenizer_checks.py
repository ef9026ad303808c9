"""Checks of a tokenizer: does it belong to the checkpoint, and does it leave the text as the vocabulary needs it?

The evidence is what the tokenizer does to text, not what its files declare.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.decoders import ByteLevel

from xeval.support.findings import Finding, by_language, error, fine, to_hundredths, warning
from xeval.support.text import one_line, percent

# Number of embedding rows → whose vocabulary that is, and the ids of words in several scripts.
# mBERT's words are the same in lower case and without accents, so that changed text is not mistaken for a changed
# vocabulary.
# mBERT's: its vocab.txt. XLM-R's: fairseq, tests/gpu/test_binaries_gpu.py and examples/xlmr/README.md.
KNOWN_VOCABULARIES: dict[int, tuple[str, dict[str, list[int]]]] = {
    119_547: (
        "mBERT cased",
        {
            "house": [13215],
            "город": [17516],
            "και": [10358],
            "العربية": [19179],
            "और": [10977],
            "国": [3014],
            "การ": [1395, 52780],
        },
    ),
    250_002: (
        "XLM-R",
        {
            "Hello world!": [35378, 8999, 38],
            "Bonjour le monde": [84602, 95, 11146],
            "你好，世界": [6, 124084, 4, 3221],
            "नमस्ते दुनिया": [68700, 97883, 29405],
            "مرحبا بالعالم": [665, 193478, 258, 1705, 77796],
        },
    ),
}
# Rows of padded embeddings → pieces of the vocabulary that they were made for.
# https://huggingface.co/microsoft/Multilingual-MiniLM-L12-H384/blob/main/config.json
PADDED = {250_037: 250_002}
SMALLEST_FIT = 0.9  # pieces per embedding row: checkpoints pad their embeddings, but not by more
IN_THE_VOCABULARY = 0.01  # from this share of pieces on, the vocabulary has a kind of letter
OUT_OF_IT = 0.001  # below this share, it has none
OTHER_PIECES = 0.01  # if this share of a language's pieces differ, the encoder reads other text than in pretraining
NEARLY_ALL = 0.99
LONGEST_SETTING = 20  # characters of the value of a setting that a message quotes

_CAPITAL = re.compile("[A-Z]")
_SMALL_WORD = re.compile("[a-z]{2}")


def check_vocabulary(tokenizer: Any, embedding_rows: int | None) -> Finding:
    """Check that the tokenizer's ids are the same rows of the checkpoint's embedding as in pretraining."""
    name = "vocabulary"
    n_pieces, fix = len(tokenizer), "Use the tokenizer that was published with these weights."
    if not isinstance(embedding_rows, int):  # it is from config.json, which anyone may have written
        return fine(name, f"{n_pieces:,} pieces")
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= embedding_rows:
        return error(
            name, f"the tokenizer's ids go up to {highest:,}, but the embedding has {embedding_rows:,} rows", fix
        )
    if n_pieces < SMALLEST_FIT * embedding_rows:
        return warning(name, f"the tokenizer has {n_pieces:,} pieces, but the embedding {embedding_rows:,} rows", fix)
    known = KNOWN_VOCABULARIES.get(PADDED.get(embedding_rows, embedding_rows)) or KNOWN_VOCABULARIES.get(n_pieces)
    if known is None:
        return fine(name, f"{n_pieces:,} pieces for {embedding_rows:,} rows of the embedding")
    whose, words = known
    ids = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in words}
    strays = [word for word in words if ids[word] != words[word]]
    if not strays:
        return fine(name, f"{n_pieces:,} pieces; {len(words)} words have the ids that they have in {whose}'s")
    why = f"though the embedding has {embedding_rows:,} rows, as with that vocabulary"
    if all(_letters(tokenizer.decode(words[word])) == _letters(word) for word in strays):
        why = "though its pieces do: the tokenizer changes the text before it looks them up"
    evidence = (
        f"{len(strays)} of {len(words)} words do not have the ids of {whose}'s vocabulary, {why}: {strays[0]!r} is"
        f" {ids[strays[0]]} instead of {words[strays[0]]}"
    )
    return (error if 2 * len(strays) > len(words) else warning)(name, evidence, fix)


def tokenizer_of(file: Path) -> tokenizers.Tokenizer | None:
    """Return the tokenizer described by a tokenizer.json, without padding or truncation; None if there is no `file`."""
    if not file.is_file():
        return None
    own = tokenizers.Tokenizer.from_file(str(file))
    own.no_padding()
    own.no_truncation()
    return own


def check_pieces(
    tokenizer: Any, own: tokenizers.Tokenizer, texts: Mapping[str, Sequence[str]], model_type: str | None = None
) -> Finding:
    """Check that the tokenizer makes the same pieces as its tokenizer.json, which describes `own`.

    The finding is an error only if OTHER_PIECES or more of a language's pieces differ: a joiner at the end of every
    hundredth word, which one of the two makes a piece of, is no reason to refuse an encoder. For some types of encoder,
    transformers does not take that file as it is, but makes a tokenizer from its vocabulary and from
    tokenizer_config.json. `texts` are by language; `model_type` is the encoder's.
    """
    name, built = "pieces", tokenizer.backend_tokenizer
    models = [type(each.model).__name__ for each in (own, built)]
    if models[0] != models[1]:
        evidence = f"tokenizer.json has a vocabulary for {models[0]}, but transformers treats it as {models[1]}"
        return error(name, evidence, _fix(model_type))
    compared = {language: _compare_pieces(own, tokenizer, some) for language, some in texts.items() if some}
    shares = {language: share for language, (share, _) in compared.items() if share}
    if not shares:
        return fine(name, "as tokenizer.json makes them")
    _, text = max(compared.values())
    pieces = (" ".join(each.encode(text, add_special_tokens=False).tokens) for each in (own, built))
    by_file, by_library = (one_line(repr(each))[:80] for each in pieces)
    evidence = (
        f"different from those of tokenizer.json: {by_language(shares, to_hundredths)} of all;"
        f" {one_line(repr(text[:40]))} is {by_file} according to the file, {by_library} as transformers reads"
        f" it{_settings(own, built)}"
    )
    return (error if max(shares.values()) >= OTHER_PIECES else warning)(name, evidence, _fix(model_type))


def check_special_pieces(tokenizer: Any, own: tokenizers.Tokenizer, model_type: str | None = None) -> Finding | None:
    """Check that the tokenizer puts the same special pieces around texts as its tokenizer.json, which describes `own`.

    Returns None if that file puts none, as in the RemBERT tokenizer that transformers saves.
    """
    name = "special pieces"
    if not own.num_special_tokens_to_add(False):
        return None
    for words, texts in (("a text", ("a",)), ("a pair of texts", ("a", "b"))):
        by_file, by_library = own.encode(*texts).ids, tokenizer(*texts)["input_ids"]
        if by_file != by_library:
            shown = (one_line(" ".join(tokenizer.convert_ids_to_tokens(ids)))[:80] for ids in (by_file, by_library))
            evidence = "{} by tokenizer.json, {} as transformers reads it".format(*shown)
            return warning(name, f"{words} is {evidence}", _fix(model_type))
    return fine(name, "as tokenizer.json puts them")


def _compare_pieces(own: tokenizers.Tokenizer, tokenizer: Any, texts: Sequence[str]) -> tuple[float, str]:
    """Return the share of pieces of `texts` that only one of the two tokenizers makes, and the text with most such."""
    by_file = [each.ids for each in own.encode_batch(list(texts), add_special_tokens=False)]
    total, most, where = 0, 0, ""
    for text, here, there in zip(texts, by_file, _ids(tokenizer, texts), strict=True):
        if here == there:
            continue
        ours, theirs = Counter(here), Counter(there)
        n_others = max(1, (ours - theirs).total(), (theirs - ours).total())
        total += n_others
        if n_others > most:
            most, where = n_others, text
    return total / max(1, sum(map(len, by_file))), where


def _fix(model_type: str | None) -> str:
    from transformers.models.auto.tokenization_auto import MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS as OF_ONE_CLASS

    if model_type in OF_ONE_CLASS:
        return (
            f"For encoders of type {model_type}, transformers makes a tokenizer of one class, whatever tokenizer_class"
            " says, so use a checkpoint whose tokenizer.json has the vocabulary and the settings of that class."
        )
    return (
        "Make tokenizer_config.json say what tokenizer.json does, or give it the right tokenizer_class: with"
        ' "PreTrainedTokenizerFast" transformers takes tokenizer.json as it is.'
    )


def _settings(own: Any, built: Any) -> str:
    """Return, in words, how the first differing part of both tokenizers (normalizer or pre-tokenizer) is set."""
    parts = [json.loads(each.to_str()) for each in (own, built)]
    for name in ("normalizer", "pre_tokenizer"):
        by_file, by_library = (part[name] for part in parts)
        if by_file != by_library:
            keys = [key for key in by_file if by_file[key] != by_library.get(key)] if by_file and by_library else []
            values = {key: one_line(by_file[key]) for key in keys[:3] if key != "type"}
            short = {key: value for key, value in values.items() if len(value) <= LONGEST_SETTING}  # no lists of steps
            text = ", ".join(f"{key} is {value} in the file" for key, value in short.items())
            return f" ({name}{': ' * bool(text)}{text})"
    return ""


def check_letters(tokenizer: Any, texts: Sequence[str]) -> list[Finding]:
    """Check that capital letters and accents of `texts` reach the encoder if, and only if, its vocabulary has them."""
    pieces = list(tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens))
    if _is_of_bytes(tokenizer):
        decode = ByteLevel().decode  # it writes each byte as a letter, "é" as "Ã©"
        pieces = [decode([piece]) for piece in pieces]
    return [
        _check_capitals(tokenizer, [text for text in texts if _CAPITAL.search(text)], pieces),
        _check_accents(tokenizer, [text for text in texts if without_accents(text) != text], pieces),
    ]


def _is_of_bytes(tokenizer: Any) -> bool:
    """Return whether the pieces are of bytes, each written as one of 256 letters.

    The steps of the tokenizer tell, not its vocabulary: one of characters may have those letters too, and XLM-R's has
    nearly all.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    steps = [getattr(backend, step, None) for step in ("normalizer", "pre_tokenizer", "decoder")]
    return any("ByteLevel" in repr(step) for step in steps)


def _letters(text: str) -> str:
    """Return `text` without white space, in NFKC form: sentencepiece changes both, and no check is about them."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def without_accents(text: str) -> str:
    """Return `text` without combining marks, as BERT's lower-casing leaves it; Indic vowel signs are lost too."""
    if text.isascii():
        return text
    marked = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in marked if unicodedata.category(c) != "Mn"))


def _check_capitals(tokenizer: Any, texts: Sequence[str], pieces: Sequence[str]) -> Finding:
    name = "capital letters"
    if not texts:
        return fine(name, "none in the rows that were checked")
    with_capitals = sum(bool(_CAPITAL.search(piece)) for piece in pieces)
    if with_capitals >= IN_THE_VOCABULARY * len(pieces) and _loses(tokenizer, texts, str.lower):
        return warning(
            name,
            f"the tokenizer lower-cases ({_declared(tokenizer)}), but {with_capitals:,} of the vocabulary's"
            f" {len(pieces):,} pieces have capitals and are never used",
            "Set do_lower_case to false in tokenizer_config.json (and lowercase in tokenizer.json): the vocabulary is a"
            " cased one.",
        )
    small_words = sum(bool(_SMALL_WORD.search(piece)) for piece in pieces)
    if with_capitals < OUT_OF_IT * len(pieces) and small_words >= IN_THE_VOCABULARY * len(pieces):
        unknown, unknown_in_lower_case = (
            _unknown_share(tokenizer, some) for some in (texts, [text.lower() for text in texts])
        )
        if unknown > unknown_in_lower_case + IN_THE_VOCABULARY:
            return warning(
                name,
                f"the vocabulary has none, but the tokenizer keeps them ({_declared(tokenizer)}):"
                f" {percent(unknown)} of pieces are unknown, but in lower case"
                f" {percent(unknown_in_lower_case)}",
                "Set do_lower_case to true in tokenizer_config.json: the vocabulary is an uncased one.",
            )
    kept = "kept, as the vocabulary requires" if with_capitals >= IN_THE_VOCABULARY * len(pieces) else "not needed"
    return fine(name, f"{kept} ({with_capitals:,} of {len(pieces):,} pieces have some)")


def _check_accents(tokenizer: Any, texts: Sequence[str], pieces: Sequence[str]) -> Finding:
    name = "accents"
    if not texts:
        return fine(name, "none in the rows that were checked")
    marked = {letter for letter in set("".join(pieces)) if without_accents(letter) != letter}
    with_accents = sum(not marked.isdisjoint(piece) for piece in pieces)
    if with_accents >= IN_THE_VOCABULARY * len(pieces) and _loses(tokenizer, texts, without_accents):
        return warning(
            name,
            f"the tokenizer strips them, and vowel signs with them, but {with_accents:,} of the vocabulary's"
            f" {len(pieces):,} pieces have some and are never used",
            "Set do_lower_case, which strips them too, or strip_accents to false in tokenizer_config.json (and in"
            " tokenizer.json).",
        )
    kept = "kept, as the vocabulary requires" if with_accents >= IN_THE_VOCABULARY * len(pieces) else "not needed"
    return fine(name, f"{kept} ({with_accents:,} of {len(pieces):,} pieces have some)")


def _loses(tokenizer: Any, texts: Sequence[str], change: Callable[[str], str]) -> bool:
    """Return whether the ids of nearly all `texts` survive `change`: what it removes never reached the encoder."""
    as_they_are, changed = _ids(tokenizer, texts), _ids(tokenizer, [change(text) for text in texts])
    return sum(a == b for a, b in zip(as_they_are, changed, strict=True)) >= NEARLY_ALL * len(texts)


def _unknown_share(tokenizer: Any, texts: Sequence[str]) -> float:
    ids = list(chain.from_iterable(_ids(tokenizer, texts)))
    return ids.count(tokenizer.unk_token_id) / max(1, len(ids))


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


def _declared(tokenizer: Any) -> str:
    declared = one_line(tokenizer.init_kwargs.get("do_lower_case", "not stated"))[:20]  # anyone may have written it
    return f"do_lower_case in its settings: {declared}"
