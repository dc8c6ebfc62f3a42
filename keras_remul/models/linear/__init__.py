"""Linear models of nodes: ridge regression, and networks blended with it."""
