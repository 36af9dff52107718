"""CheXpert Plus: the table of reports, and the films as PNG or DICOM files."""

from editgrpo.data.chexpert_plus.preparation import CheXpertPlusSource, read_chexpert_plus

__all__ = ["CheXpertPlusSource", "read_chexpert_plus"]
