"""Tables: the one reader of their text, and a dataclass for the rows of each table of the output."""
