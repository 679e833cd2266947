"""The HTTP door: health now, the console's API and DICOMweb later."""
