"""Counts of what a tokenizer did to some text."""

from pydantic import BaseModel, ConfigDict, Field


class Tokenization(BaseModel):
    """Counted over all rows of one language. Shares are fractions."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    truncated_share: float = Field(ge=0, le=1)  # share of rows longer than max_length
    unknown_piece_share: float = Field(ge=0, le=1)
    pieces_per_word: float | None  # fertility; None if the text has no spaces between words
    pieces_per_row: float
