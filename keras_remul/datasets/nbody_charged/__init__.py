"""Five charged bodies: simulator (NumPy only) and TFDS builder."""
