"""Models of motion, applied to their own predictions."""
