"""Doing: names → runs → records."""
