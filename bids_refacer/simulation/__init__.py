"""Synthetic heads with known faces and known phenotypes, from a statistical head model."""
