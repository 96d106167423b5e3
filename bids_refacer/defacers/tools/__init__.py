"""The defacing tools, one module each."""
