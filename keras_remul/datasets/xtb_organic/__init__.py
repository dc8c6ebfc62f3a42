"""Energies and forces of small organic molecules by GFN2-xTB."""
