"""Execution of runs: names → runs → records."""
