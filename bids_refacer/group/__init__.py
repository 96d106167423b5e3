"""The group level: what the audits of all participants say together."""
