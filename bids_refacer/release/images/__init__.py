"""Images on their way into a release: judged, looked at, written."""
