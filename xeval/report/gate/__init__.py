"""The gate's outcome in several formats, one module each."""
