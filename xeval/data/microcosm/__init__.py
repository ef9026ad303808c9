"""The embedded microcosm: xnli-mini, a synthetic corpus in XNLI's format and languages (see README.md)."""
