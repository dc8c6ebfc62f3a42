"""The solar system: JPL ephemeris (extra `solar`) and TFDS builder."""
