"""Shared by several test files: tiny models and data, made-up records, a stand-in hub, simulations."""
