"""Records → reports that people read."""
