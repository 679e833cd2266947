"""The DIMSE door: upper layer, associations and the service classes."""
