"""What becomes of a file on its way into a release: sidecars, tables, headers, descriptions."""
