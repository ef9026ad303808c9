"""Reading of data: bytes → checked rows and model files."""
