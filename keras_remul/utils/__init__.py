"""Tools for the whole package: dtypes, nested data, masks, files."""
