"""The results of the Python functions, which notebooks show as tables."""
