"""Measure labels against the truth: repeated runs, methods side by side (`autoannotate evaluate`).

A protocol (`protocols/`) makes a `Problem` of a labelled set and asks methods (`methods`) to solve it; `runner` repeats
that over seeds, `report` writes what came out. The truth never reaches a method.
"""
