"""Which languages a tokenizer hurts: unknown pieces, words in many pieces, truncated rows.

Checked before a run on a sample of its rows, and after it on all of them, with the same names for the three numbers.
"""

from collections.abc import Mapping

from xeval.kinds.tokenization import Tokenization
from xeval.support.findings import Finding, at_most, by_language, error, fine, to_hundredths, warning
from xeval.support.text import one_decimal

# mBERT on XNLI, for scale: at most 0.4 % unknown (zh), 2.6 pieces per word (el), and 18.7 % truncated (th) at 128.
UNKNOWN_HURTS = 0.02  # of all pieces
UNKNOWN_IS_UNREADABLE = 0.3
PIECES_PER_WORD_HURT = 4.0
PIECES_PER_WORD_LOST = 0.5  # a word has at least one piece, unless the tokenizer's pieces span words
TRUNCATION_HURTS = 0.05  # of rows


def check_languages(
    tokenized: Mapping[str, Tokenization], training_language: str, max_length: int | None, unit: str = "rows"
) -> list[Finding]:
    """Return one finding each on unknown pieces, pieces per word and truncation, given languages → numbers.

    `unit` is the name for rows.
    """
    if not tokenized:
        return []
    return [
        _unknown_pieces({language: own.unknown_piece_share for language, own in tokenized.items()}, training_language),
        _lost_text(tokenized, training_language)
        or _pieces_per_word({k: own.pieces_per_word for k, own in tokenized.items() if own.pieces_per_word}),
        _truncation({language: own.truncated_share for language, own in tokenized.items()}, max_length, unit),
    ]


def _unknown_pieces(shares: dict[str, float], training_language: str) -> Finding:
    name = "unknown pieces"
    hurt = {language: share for language, share in shares.items() if share >= UNKNOWN_HURTS}
    if not hurt:
        return fine(name, at_most(shares, to_hundredths))
    fix = "Use the checkpoint's own tokenizer; if this is it, the encoder cannot read these languages."
    unreadable = hurt.get(training_language, 0.0) >= UNKNOWN_IS_UNREADABLE
    return (error if unreadable else warning)(name, f"{by_language(hurt)} of pieces", fix)


def _lost_text(tokenized: Mapping[str, Tokenization], training_language: str) -> Finding | None:
    """Look for languages with fewer pieces than words that truncation does not explain."""
    numbers = {name: own.pieces_per_word for name, own in tokenized.items() if own.truncated_share < TRUNCATION_HURTS}
    lost = {name: number for name, number in numbers.items() if number is not None and number < PIECES_PER_WORD_LOST}
    if not lost:
        return None
    fix = "Look at the normalizer in tokenizer.json: it removes most of the text before splitting it."
    return (error if training_language in lost else warning)("pieces per word", by_language(lost, one_decimal), fix)


def _pieces_per_word(numbers: dict[str, float]) -> Finding:
    name = "pieces per word"
    hurt = {language: number for language, number in numbers.items() if number >= PIECES_PER_WORD_HURT}
    if not hurt:
        return fine(name, at_most(numbers, one_decimal) if numbers else "no language has spaces between words")
    return warning(
        name,
        by_language(hurt, one_decimal),
        "Expect lower scores in these languages: even if the vocabulary is right, it has hardly any of their words.",
    )


def truncated(unit: str) -> str:
    """Return the name of the finding about truncation."""
    return f"truncated {unit}"


def _truncation(shares: dict[str, float], max_length: int | None, unit: str) -> Finding:
    name, at = truncated(unit), f" at {max_length} pieces" if max_length else ""
    hurt = {language: share for language, share in shares.items() if share >= TRUNCATION_HURTS}
    if not hurt:
        return fine(name, at_most(shares) + at)
    return warning(
        name,
        f"{by_language(hurt)} of {unit} are cut off{at}",
        "Raise --max-length, or expect lower scores in these languages; published numbers may have the same handicap.",
    )
