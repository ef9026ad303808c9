"""Numbers → statements: scores, verdicts, comparisons, the gate."""
