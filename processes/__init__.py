"""What the archive does: receive, find, retrieve."""
