"""How fast xeval is beside the transformers Trainer, measured on the machine at hand: `make bench`."""
