"""Label errors: out-of-sample probabilities, the noise estimate, suspects and their correction."""
