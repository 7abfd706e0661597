"""Runs: what a run is on disk: its record, tables, rounds and report."""
