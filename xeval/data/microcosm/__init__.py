"""The embedded microcosm: xnli-mini, a synthetic corpus in XNLI's format and languages (see README.md)."""

from xeval.data.microcosm.corpus import write_corpus
from xeval.data.microcosm.lexicon import ALL, available

__all__ = ["ALL", "available", "write_corpus"]
