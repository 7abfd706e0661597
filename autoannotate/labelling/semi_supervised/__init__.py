"""Semi-supervised: labels refined by the structure of the images, and by a few answers."""
