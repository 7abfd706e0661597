"""Loading: CLIP models from the package, from open_clip, from the hub and from local files."""
