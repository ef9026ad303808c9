"""The CI gate: a baseline file, and whether later results are worse than it."""
