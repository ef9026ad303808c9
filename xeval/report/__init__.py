"""Records → what people read."""
