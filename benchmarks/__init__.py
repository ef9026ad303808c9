"""Measures xeval's speed against the transformers Trainer on the machine at hand: `make bench`."""
