"""What to know before the figures are read: sentences about all tools together."""
