"""Reading DICOM: a bounded scan and the index values it yields."""
