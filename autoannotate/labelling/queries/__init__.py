"""Queries: which images a clinician is asked about next."""
