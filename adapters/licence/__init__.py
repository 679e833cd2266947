"""Licences: whether a vendor has signed one."""
