"""From a dataset of heads to training examples."""
