"""Everything that computes with torch: loading, encoding, training and prediction."""
