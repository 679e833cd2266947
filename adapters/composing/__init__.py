"""Objects made from metadata and bulk data that came apart (PS3.18 10.5.1.4)."""
