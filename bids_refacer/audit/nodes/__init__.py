"""Thin Nipype nodes around one calculation each; the registry of defacing tools; the brain extractor."""
