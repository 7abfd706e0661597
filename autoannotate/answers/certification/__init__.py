"""Certification: a random sample, and the error bound that it proves."""
