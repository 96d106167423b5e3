"""Audit of MRI defacing: how much of the face comes back, and how much science was lost."""

__version__ = "0.8.1"
