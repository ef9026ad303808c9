"""The lowest layer, which every other may import: files, progress, signals, errors and the like."""
