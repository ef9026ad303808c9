"""What xeval writes: records, predictions, and where they lie."""
