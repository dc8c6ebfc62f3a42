"""Public weights of other libraries as presets."""
