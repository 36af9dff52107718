"""Phantom studies: synthetic radiographs and reports for the demo, tests and ablations."""

from editgrpo.data.prepared.folder_state import TRUTH_FILE
from editgrpo.phantom.findings import CHEXPERT_CLASS, Finding, Kind, Progress, Side, Size, Zone
from editgrpo.phantom.sheet import contact_sheet
from editgrpo.phantom.sites import PROFILES, Phrasing, Rendering, Site, SiteProfile
from editgrpo.phantom.write import PhantomSummary, write_phantom

__all__ = [
    "CHEXPERT_CLASS",
    "PROFILES",
    "TRUTH_FILE",
    "Finding",
    "Kind",
    "PhantomSummary",
    "Phrasing",
    "Progress",
    "Rendering",
    "Side",
    "Site",
    "SiteProfile",
    "Size",
    "Zone",
    "contact_sheet",
    "write_phantom",
]
