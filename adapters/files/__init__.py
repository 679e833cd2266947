"""Objects on disk: content-addressed, written once."""
