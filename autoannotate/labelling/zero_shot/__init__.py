"""Zero-shot: class names become prompts, and prompts class probabilities."""
