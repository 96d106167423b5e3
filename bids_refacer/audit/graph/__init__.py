"""Graphs of Nipype nodes, and nothing else."""
