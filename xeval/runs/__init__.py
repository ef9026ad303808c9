"""Making runs: names → runs → records."""
