"""Leaves: files, progress, signals, errors."""
