"""CMU motion capture: reader of Acclaim files and TFDS builder."""
