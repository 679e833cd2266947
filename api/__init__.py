"""The HTTP door: health, DICOMweb, the licence and the viewer."""
