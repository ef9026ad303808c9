"""The records and predictions that xeval writes, and their places on disk."""
