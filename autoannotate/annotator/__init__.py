"""What programs call: an Annotator makes Annotations, a run becomes a Labeller. The stages in their order, and nothing else."""
