"""Jets of top quarks and of others: Pythia (extra `jets`) and TFDS builder."""
