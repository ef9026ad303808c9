"""How the microcosm's two encoders were made; `python -m tools.microcosm` makes them again."""
