"""Training of the encoders: contrastive on image-text pairs (`clip`), for users' own reports as for the shipped checkpoint."""
