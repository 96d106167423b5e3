"""Options of an audit that are about one thing."""
