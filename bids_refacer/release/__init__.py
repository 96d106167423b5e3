"""From an audit to a dataset that can be published: what goes, what is held back, a certificate, and its check."""
