"""The kinds of task: what is particular to each, one file a kind."""
