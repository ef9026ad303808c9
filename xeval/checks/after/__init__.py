"""The signatures of known failures, looked for in finished runs."""
