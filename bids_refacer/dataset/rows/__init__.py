"""Typed rows of every table of the output."""
