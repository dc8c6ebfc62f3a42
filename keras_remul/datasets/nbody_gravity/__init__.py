"""A star and its planets: simulator (NumPy only) and TFDS builder."""
