"""How a recovered head is drawn: a sharp template of a head, warped to its fields and painted in the native image."""
