"""Bytes → checked rows and model files."""
