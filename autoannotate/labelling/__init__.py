"""Labelling: array in, array out. No files, no models, no printing."""
