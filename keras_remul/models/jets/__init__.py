"""Models that tell what a jet comes from, by its constituents."""
