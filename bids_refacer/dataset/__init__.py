"""All knowledge of BIDS: which images there are, what outputs are called, sidecars, tables, descriptions."""
