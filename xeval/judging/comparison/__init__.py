"""Two sides on the same test rows: who is better, where, and by how much."""
