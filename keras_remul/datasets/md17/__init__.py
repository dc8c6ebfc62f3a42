"""MD17 and revised MD17: molecular dynamics from density functionals."""
