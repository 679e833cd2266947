"""Doors and machines: DIMSE, the log, files, DICOM parsing, PostgreSQL."""
