"""Skips computation that changes no result: padding, tokens of the last layer that no head reads, unused vocabulary."""
