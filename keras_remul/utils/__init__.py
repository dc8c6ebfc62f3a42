"""What all rooms of the package use: dtypes, nested data, masks, files."""
