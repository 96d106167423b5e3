"""The attack: a defaced volume in, refaced volumes out. Nothing here ever sees an original."""
