"""The kinds of task, with one file for what is particular to each kind."""
