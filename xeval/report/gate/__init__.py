"""The gate's outcome, one file per format."""
