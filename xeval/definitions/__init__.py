"""The files that people write (tasks, recipes, published tables …), and the names of these and of models."""
