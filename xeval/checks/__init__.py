"""Checks before a run and diagnosis after it: everything that produces findings."""
