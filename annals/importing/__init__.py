"""``annals import``: sends a folder of files to an archive (CLI-2)."""
