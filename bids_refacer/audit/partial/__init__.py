"""What can be looked at before a run ends: rows and pages of what is finished, and the state of all that is not."""
