"""Molecular dynamics with GFN2-xTB: simulator (extra `md`) and TFDS builder."""
