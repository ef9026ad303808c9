"""The table of a suite: models by tasks, with averages by group and over all, in several formats."""
