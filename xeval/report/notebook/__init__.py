"""What functions that Python programs call give back, as a notebook shows it."""
