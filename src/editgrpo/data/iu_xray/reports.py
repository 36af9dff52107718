"""The reports of IU X-Ray (OpenI): from the original XML archive, or from the Indiana CSV pair."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from editgrpo.archives import tar_entries
from editgrpo.data.given_values import section_text
from editgrpo.data.iu_xray.images import image_id_candidates
from editgrpo.data.readers.table import Row, Table, read_table
from editgrpo.errors import DataError
from editgrpo.foreign import reading

_LONGEST_XML = 1_000_000  # bytes; the longest real report has 20 thousand
_MOST_BYTES = 1 << 28  # of the archive unpacked: ten times the real one, 3,955 reports in 25 MB
_REPORT_COLUMNS = ("uid", "image", "indication", "comparison", "findings", "impression")
_PROJECTION_COLUMNS = ("uid", "filename", "projection")
_SECTIONS = ("indication", "comparison", "findings", "impression")
# A byte order mark, longer ones first; or how "<?" looks in an encoding of wider letters.
_ENCODINGS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0?\0": "utf-16-le",
    b"\0<\0?": "utf-16-be",
}
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_UID = re.compile(r"CXR(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class IUReport:
    """One report.

    Attributes:
        uid: Its number.
        images: XML image id and view name of each image; the XML gives no view.
        exam: What was examined, such as "Chest, 2 views"; the caption of the images.
        indication: Section.
        comparison: Section.
        findings: Section.
        impression: Section.
    """

    uid: str
    images: tuple[tuple[str, str], ...]
    exam: str
    indication: str
    comparison: str
    findings: str
    impression: str


def read_reports(reports: Path, projections: Path | None) -> list[IUReport]:
    """Read all reports.

    Args:
        reports: `NLMCXR_reports.tgz`, a folder of its XML files, or `indiana_reports.csv`.
        projections: `indiana_projections.csv`. The CSV form needs it; beside the XML form it gives
            the views, which the XML lacks.

    Returns:
        The reports by number.

    Raises:
        DataError: A file cannot be read or is not of the documented form, or two reports have one
            number.
    """
    views = _read_projections(projections) if projections is not None else {}
    if reports.name.lower().endswith((".csv", ".csv.gz")):
        if projections is None:
            raise DataError(
                f"{reports}: says nothing of images; give indiana_projections.csv next to it"
            )
        read = [_from_row(row, views) for row in _rows(reports, _REPORT_COLUMNS)]
    else:
        read = [_from_xml(where, content, views) for where, content in _xml_files(reports)]
    by_uid: dict[str, IUReport] = {}
    for report in read:
        if by_uid.setdefault(report.uid, report) is not report:
            raise DataError(f"{reports}: report CXR{report.uid} appears twice; remove one")
    return sorted(by_uid.values(), key=lambda report: int(report.uid))


def _xml_files(reports: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every XML file; nothing of an archive is written to disk."""
    count = 0
    remedy = "give NLMCXR_reports.tgz, a folder of its XML files, or indiana_reports.csv"
    if reports.is_dir():
        for path in sorted(reports.rglob("*.xml")):
            count += 1
            with reading(path, remedy), path.open("rb") as file:
                content = file.read(_LONGEST_XML + 1)
            yield str(path), content
    else:
        entries = tar_entries(
            reports,
            most_bytes=_MOST_BYTES,
            remedy=remedy,
            fault="cannot be read to its end ({reason})",
        )
        for entry in entries:
            if entry.is_file and entry.name.endswith(".xml"):
                count += 1
                yield f"{reports}: {entry.name}", entry.read(_LONGEST_XML + 1)
    if not count:
        raise DataError(f"{reports}: holds no XML file; give NLMCXR_reports.tgz or its folder")


def _from_xml(where: str, content: bytes, views: dict[str, list[tuple[str, str]]]) -> IUReport:
    root = _parsed(where, content)
    identifier = root.find("uId")
    match = _UID.fullmatch(identifier.get("id", "") if identifier is not None else "")
    if match is None:
        raise DataError(f"{where}: has no <uId id='CXR...'>; is it a report of the archive?")
    sections = _sections_of(root)
    view_of_id = {
        candidate: view
        for name, view in views.get(match[1], ())
        for candidate in image_id_candidates(match[1], name)
    }
    parents = list(root.iter("parentImage"))
    ids = dict.fromkeys(parent.get("id", "") for parent in parents)
    captions = (_tidy(parent.findtext("caption") or "") for parent in parents)
    return IUReport(
        uid=match[1],
        images=tuple((image_id, view_of_id.get(image_id, "")) for image_id in ids if image_id),
        exam=section_text(next(captions, ""), "technique"),
        **{name: section_text(sections.get(name.upper(), ""), name) for name in _SECTIONS},
    )


def _parsed(where: str, content: bytes) -> ElementTree.Element:
    is_long = len(content) > _LONGEST_XML
    text = "" if is_long else _decoded(where, content)
    # Entities are declared in a DOCTYPE and could expand without end; no report has one.
    if is_long or "<!DOCTYPE" in text:
        raise DataError(f"{where}: is no report of the archive (too long, or has a DOCTYPE)")
    with reading(where, "get the file again", fault="is not XML"):
        return ElementTree.fromstring(text)


def _decoded(where: str, content: bytes) -> str:
    """Decode XML in the encoding that its first bytes or its declaration name."""
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "")
    declared = _DECLARED.match(content)
    if not encoding:
        encoding = declared[1].decode("ascii") if declared else "utf-8"
    # Its name is not repeated: in a damaged file it may be anything.
    fault = "is not in the encoding that it names" if declared else "is not UTF-8"
    with reading(where, "get the file again, or save it as UTF-8", fault=fault):
        return content.decode(encoding)


def _sections_of(root: ElementTree.Element) -> dict[str, str]:
    """Return the text of each label in capitals; elements of one label are joined in order."""
    texts: dict[str, list[str]] = {}
    for element in root.iter("AbstractText"):
        text = _tidy("".join(element.itertext()))
        texts.setdefault(element.get("Label", "").strip().upper(), []).append(text)
    # Two that say the same are one, as in a report of MIMIC-CXR.
    return {label: " ".join(filter(None, dict.fromkeys(parts))) for label, parts in texts.items()}


def _from_row(row: Row, views: dict[str, list[tuple[str, str]]]) -> IUReport:
    uid = str(row.cells["uid"])
    if not uid.isdecimal():
        raise DataError(f"{row.where}: uid must be a number; is this indiana_reports.csv?")
    text = {name: _tidy(html.unescape(str(row.cells[name]))) for name in _REPORT_COLUMNS[1:]}
    return IUReport(
        uid=uid,
        images=tuple(
            (image_id_candidates(uid, name)[0], view) for name, view in views.get(uid, ())
        ),
        exam=section_text(text["image"], "technique"),
        **{name: section_text(text[name], name) for name in _SECTIONS},
    )


def _read_projections(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return (file name, projection) pairs by uid."""
    views: dict[str, list[tuple[str, str]]] = {}
    for row in _rows(path, _PROJECTION_COLUMNS):
        uid, name, view = (str(row.cells[column]) for column in _PROJECTION_COLUMNS)
        views.setdefault(uid, []).append((name, view))
    return views


def _rows(path: Path, columns: tuple[str, ...]) -> tuple[Row, ...]:
    table: Table = read_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path}: column {missing[0]!r} is missing; it must have {list(columns)}")
    return table.rows


def _tidy(text: str) -> str:
    return " ".join(text.split())
