"""DICOMweb (PS3.18): query, retrieve and store over HTTP."""
