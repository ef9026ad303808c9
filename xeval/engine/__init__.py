"""Everything that computes with torch: loading, encoding, training, prediction."""
