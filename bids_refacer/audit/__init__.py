"""The participant level: plan, run, record and report the audit of a dataset."""
