"""Ethanol, acetylacetone and 3BPA with density functionals."""
