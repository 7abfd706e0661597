"""A run as a labeller: learned once from the labels of a run, saved as one folder, used on new images."""
