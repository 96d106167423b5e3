"""Which images of a dataset can be used: by their names, beside each other, and by their headers."""
