"""How the microcosm's two encoders were made; `python -m xeval.microcosm.making` makes them again."""
