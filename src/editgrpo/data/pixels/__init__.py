"""From a file to the pixels that the model sees: JPEG, PNG and DICOM, grey levels, size."""
