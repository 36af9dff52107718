"""MIMIC-CXR and MIMIC-CXR-JPG: tables, raw reports and their sections."""

from editgrpo.data.mimic_cxr.preparation import MimicCXRSource, read_mimic_cxr
from editgrpo.data.mimic_cxr.sections import Decision, Sections, parse_report

__all__ = [
    "Decision",
    "MimicCXRSource",
    "Sections",
    "parse_report",
    "read_mimic_cxr",
]
