"""Where the files of IU X-Ray are: given one by one, or found below the folder of the download."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from editgrpo.data.iu_xray.images import Listing, find_image_folder, list_files
from editgrpo.data.readers.folders import require_folder
from editgrpo.errors import ConfigError, DataError

_REPORT_ARCHIVES = ("NLMCXR_reports.tgz", "NLMCXR_reports.tar.gz", "NLMCXR_reports.tar")
_REPORT_TABLES = ("indiana_reports.csv", "indiana_reports.csv.gz")
_PROJECTION_TABLES = ("indiana_projections.csv", "indiana_projections.csv.gz")
_IMAGE_ARCHIVES = ("NLMCXR_png.tgz", "NLMCXR_png.tar.gz", "NLMCXR_dcm.tgz")
_ANNOTATIONS = ("annotation.json",)
_XML_NAME = re.compile(r"\d+\.xml")


@dataclass(frozen=True, kw_only=True, slots=True)
class IUXraySource:
    """Where the files of IU X-Ray are; what is not given is looked for below `root`."""

    root: Path | None = None
    """Folder of the download; `discover` says what is found in it."""

    reports: Path | None = None
    """`NLMCXR_reports.tgz`, a folder of its XML files, or `indiana_reports.csv`."""

    projections: Path | None = None
    """`indiana_projections.csv`: needed by the CSV form; gives the XML form its views."""

    images: Path | None = None
    """Folder of images in any of the three layouts; None only where images are not required."""

    annotation: Path | None = None
    """R2Gen's `annotation.json`; its split is used, and studies outside it are left out."""


def discover(root: Path) -> IUXraySource:
    """Find the files of the data set below a folder.

    Reports are taken from the first there is of `NLMCXR_reports.tgz`, a folder of its XML files and
    `indiana_reports.csv`; images from the first layout there is of the original archive, the CSV
    form, R2Gen and DICOM; R2Gen's `annotation.json` is used where there is one. Of several files of
    one name, the least deep is taken, equals by path.

    Args:
        root: The folder, at any depth; nothing is written in it.

    Returns:
        What was found; None for what was not.

    Raises:
        DataError: There is no such folder.
    """
    require_folder(root, "the download")
    listing = list_files(root)
    archive = _find(listing, _REPORT_ARCHIVES)
    return IUXraySource(
        root=root,
        reports=archive or _find_xml_folder(listing) or _find(listing, _REPORT_TABLES),
        projections=_find(listing, _PROJECTION_TABLES),
        images=find_image_folder(listing),
        annotation=_find(listing, _ANNOTATIONS),
    )


def resolve(source: IUXraySource, *, require_images: bool) -> IUXraySource:
    """Fill in what is not given from what lies below the root.

    Args:
        source: As the user gave it; what is given wins over what is found.
        require_images: Whether images must be given or found.

    Returns:
        The source, with reports.

    Raises:
        ConfigError: Reports or images are needed, and neither they nor a root is given.
        DataError: They are not below the root.
    """
    found = discover(source.root) if source.root is not None else source
    whole = replace(
        found,
        reports=source.reports or found.reports,
        projections=source.projections or found.projections,
        images=source.images or found.images,
        annotation=source.annotation or found.annotation,
    )
    if source.root is None:
        if whole.reports is None:
            raise ConfigError("no reports are given; give them, or the folder of the download")
        if whole.images is None and require_images:
            raise ConfigError(
                "no folder of images is given; give one, or ask for studies without images"
            )
        return whole
    if whole.reports is None:
        raise DataError(
            f"{source.root}: holds neither NLMCXR_reports.tgz, nor its XML files, nor "
            "indiana_reports.csv; put one there, or give the reports by their path"
        )
    if whole.images is None and require_images:
        raise DataError(_no_images(source.root))
    return whole


def _no_images(root: Path) -> str:
    archive = _find(list_files(root), _IMAGE_ARCHIVES)
    if archive is not None:
        return (
            f"{archive}: its images cannot be read while they are packed; unpack it with tar -xzf, "
            "or ask for studies without images"
        )
    return (
        f"{root}: holds no images named as in NLMCXR_png, images_normalized or R2Gen's images; put "
        "them there, give their folder, or ask for studies without images"
    )


def _find(listing: Listing, wanted: tuple[str, ...]) -> Path | None:
    for name in wanted:
        for folder, names in listing:
            if name in names:
                return folder / name
    return None


def _find_xml_folder(listing: Listing) -> Path | None:
    for folder, names in listing:
        if any(_XML_NAME.fullmatch(name) for name in names):
            return folder
    return None
