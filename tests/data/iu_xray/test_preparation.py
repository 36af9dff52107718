import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from editgrpo.data.iu_xray import IUXraySource
from editgrpo.data.iu_xray.images import ImageIndex, image_id_candidates
from editgrpo.data.iu_xray.reports import IUReport, read_reports
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.readers.table import read_table
from editgrpo.data.sources import prepare
from editgrpo.data.study import Split, Study, View
from editgrpo.errors import ConfigError, DataError
from tests.builders import shared_data
from tests.data.accounts import fact, images_left_out, kept, left_out, options, seen

# Invented reports in the true layout. Report 1 has the long form of image ids, report 2 the usual.
IDS = {
    "1": ["CXR1_1_IM-0001-4001", "CXR1_1_IM-0001-3001"],
    "2": ["CXR2_IM-0652-1001"],
    "3": [],
}
FINDINGS = {"1": "Clear lungs &amp; normal heart.", "2": "", "3": "Small  effusion."}
USUAL = options()
NO_IMAGES = options(require_images=False)


def xml_of(uid: str) -> str:
    images = "".join(
        f'<parentImage id="{name}"><caption>Two views</caption></parentImage>' for name in IDS[uid]
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{uid}"/><Abstract>'
        '<AbstractText Label="COMPARISON"/><AbstractText Label="INDICATION">Cough</AbstractText>'
        f'<AbstractText Label="FINDINGS">{FINDINGS[uid]}</AbstractText>'
        '<AbstractText Label="IMPRESSION">Normal.</AbstractText></Abstract>'
        f"{images}</eCitation>"
    )


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def reports_as_archive(folder: Path) -> Path:
    files = {f"ecgen-radiology/{uid}.xml": xml_of(uid) for uid in IDS}
    return archive(folder / "NLMCXR_reports.tgz", files)


def reports_as_xml_folder(folder: Path) -> Path:
    (folder / "ecgen-radiology").mkdir()
    for uid in IDS:
        (folder / "ecgen-radiology" / f"{uid}.xml").write_text(xml_of(uid), encoding="utf-8")
    return folder / "ecgen-radiology"


def reports_as_csv(folder: Path) -> Path:
    rows = [f"{uid},x,x,Two views,Cough,,{FINDINGS[uid]},Normal." for uid in IDS]
    header = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    (folder / "indiana_reports.csv").write_text("\n".join([header, *rows, ""]))
    return folder / "indiana_reports.csv"


def projections(folder: Path) -> Path:
    (folder / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n"
        "1,1_IM-0001-3001.dcm.png,Lateral\n2,2_IM-0652-1001.dcm.png,Frontal\n"
    )
    return folder / "indiana_projections.csv"


def images_as_nlmcxr(folder: Path) -> Path:
    return write_images(
        folder / "NLMCXR_png", [f"{name}.png" for ids in IDS.values() for name in ids]
    )


def images_as_normalized(folder: Path) -> Path:
    names = ["1_IM-0001-4001.dcm.png", "1_IM-0001-3001.dcm.png", "2_IM-0652-1001.dcm.png"]
    return write_images(folder / "images_normalized", names)


def images_as_r2gen(folder: Path) -> Path:
    names = ["CXR1_1_IM-0001/0.png", "CXR1_1_IM-0001/1.png", "CXR2_IM-0652/0.png"]
    return write_images(folder / "images", names)


def write_images(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / name)
    return folder


@cache
def real_reports() -> dict[str, IUReport]:
    """The reports of the real archive by number, with views; read once for all tests."""
    folder = shared_data() / "iu_xray"
    reports = read_reports(folder / "NLMCXR_reports.tgz", folder / "indiana_projections.csv")
    return {report.uid: report for report in reports}


def prepared(folder: Path, source: IUXraySource, how: PrepareOptions = USUAL) -> dict[str, Study]:
    prepare(source, folder / "studies", how)
    return {study.study_id: study for study in StudySet.load(folder / "studies")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "write_reports", [reports_as_archive, reports_as_xml_folder, reports_as_csv]
)
@pytest.mark.parametrize("write_images", [images_as_nlmcxr, images_as_normalized, images_as_r2gen])
def test_every_form_of_reports_goes_with_every_layout_of_images(
    tmp_path: Path,
    write_reports: Callable[[Path], Path],
    write_images: Callable[[Path], Path],
) -> None:
    source = IUXraySource(
        reports=write_reports(tmp_path),
        projections=projections(tmp_path),
        images=write_images(tmp_path),
    )
    summary = prepare(source, tmp_path / "studies", USUAL)
    # Report 2 has no findings and report 3 no image.
    assert (seen(summary), kept(summary)) == (3, 1)
    assert fact(summary, "with findings and impression") == 2
    assert left_out(summary) == {"no findings, impression only": 1, "no image listed": 1}
    (study,) = StudySet.load(tmp_path / "studies")
    assert (study.study_id, study.patient_id) == ("CXR1", "1")
    assert study.findings == "Clear lungs & normal heart."
    assert (study.indication, study.technique, study.comparison) == ("Cough", "Two views", "")
    ids = [image.image_id for image in study.images]
    views = [image.view for image in study.images]
    if write_images is images_as_r2gen:
        assert ids == ["CXR1_1_IM-0001/0", "CXR1_1_IM-0001/1"]
        assert views == [View.UNKNOWN] * 2
    else:
        assert ids == IDS["1"]
        assert views == [View.FRONTAL, View.LATERAL]


def test_xml_alone_gives_no_views(tmp_path: Path) -> None:
    source = IUXraySource(reports=reports_as_archive(tmp_path), images=images_as_nlmcxr(tmp_path))
    study = prepared(tmp_path, source)["CXR1"]
    assert [image.view for image in study.images] == [View.UNKNOWN] * 2


def test_a_missing_image_is_listed_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = images_as_nlmcxr(tmp_path)
    (images / "CXR1_1_IM-0001-3001.png").unlink()
    source = IUXraySource(reports=reports_as_archive(tmp_path), images=images)
    summary = prepare(source, tmp_path / "studies", USUAL)
    assert images_left_out(summary) == {"image file is missing": 1}
    assert "images are missing; is --images right?" in caplog.text
    (study,) = StudySet.load(tmp_path / "studies")
    assert [image.image_id for image in study.images] == ["CXR1_1_IM-0001-4001"]
    lines = (tmp_path / "studies" / "rejected.jsonl").read_text().splitlines()
    rejected = [json.loads(line) for line in lines]
    assert {
        "study_id": "CXR1",
        "split": study.split.value,
        "image": "CXR1_1_IM-0001-3001",
        "reason": "image file is missing",
    } in rejected


def test_studies_can_be_kept_without_any_image(tmp_path: Path) -> None:
    source = IUXraySource(reports=reports_as_archive(tmp_path))
    studies = prepared(tmp_path, source, NO_IMAGES)
    assert set(studies) == {"CXR1", "CXR3"}
    assert studies["CXR3"].findings == "Small effusion."
    with pytest.raises(ConfigError, match="no folder of images is given"):
        prepare(source, tmp_path / "other")


def test_a_dry_run_needs_reports_alone_and_counts_the_images_that_they_list(tmp_path: Path) -> None:
    reports_as_archive(tmp_path)
    projections(tmp_path)
    source = IUXraySource(root=tmp_path)
    summary = prepare(source, tmp_path.parent / "studies", replace(USUAL, dry_run=True))
    # CXR1 has both its views; CXR2 has no findings, CXR3 no image.
    assert (seen(summary), kept(summary)) == (3, 1)
    rows = {row.name: row.total for row in summary.flow.rows}
    assert (rows["frontal images"], rows["lateral images"]) == (1, 1)
    assert left_out(summary) == {"no findings, impression only": 1, "no image listed": 1}
    with pytest.raises(DataError, match="holds no images named as in NLMCXR_png"):
        prepare(source, tmp_path.parent / "studies", options())


def annotation(folder: Path, content: object) -> Path:
    (folder / "annotation.json").write_text(json.dumps(content))
    return folder / "annotation.json"


def test_the_split_of_r2gen_is_used_and_studies_outside_it_are_left_out(tmp_path: Path) -> None:
    source = IUXraySource(
        reports=reports_as_archive(tmp_path),
        annotation=annotation(
            tmp_path, {"train": [], "val": [{"id": "CXR1_1_IM-0001"}], "test": []}
        ),
    )
    summary = prepare(source, tmp_path / "studies", NO_IMAGES)
    assert summary.flow.row("studies kept").counts == {Split.VALIDATION: 1}
    assert left_out(summary) == {"not in R2Gen's annotation": 2}
    assert summary.flow.row("not in R2Gen's annotation").counts == {None: 2}
    assert summary.split_rule == "R2Gen's annotation"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be one JSON object"),
        ({"train": [{"report": "x"}]}, "must be one JSON object"),
        ({"trian": [{"id": "CXR1_IM-1"}]}, "key is 'trian'; did you mean 'train'"),
        ({"train": [{"id": "s50414267"}]}, "does not look like CXR7_IM-2263"),
        ({"train": [{"id": "CXR1_IM-1"}], "test": [{"id": "CXR1_IM-1"}]}, "CXR1 is in two"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, content: object, message: str) -> None:
    source = IUXraySource(
        reports=reports_as_archive(tmp_path), annotation=annotation(tmp_path, content)
    )
    with pytest.raises(DataError, match=rf"annotation\.json.*{message}"):
        prepare(source, tmp_path / "studies", NO_IMAGES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1.xml: is not XML"),
        ("<eCitation>", "1.xml: is not XML"),
        ("<eCitation/>", "1.xml: has no <uId"),
        ('<eCitation><uId id="7"/></eCitation>', "1.xml: has no <uId"),
        (
            '<!DOCTYPE a [<!ENTITY b "boom">]><eCitation><uId id="CXR1"/>&b;</eCitation>',
            "has a DOCTYPE",
        ),
        ("<a>" + " " * 1_000_000 + "</a>", "too long"),
    ],
)
def test_a_broken_report_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = archive(tmp_path / "r.tgz", {"2.xml": xml_of("2"), "1.xml": text})
    with pytest.raises(DataError, match=message) as caught:
        read_reports(path, None)
    assert "\n" not in str(caught.value)


def test_members_of_an_archive_are_never_written_to_disk(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = archive(inner / "r.tgz", {"../escaped.xml": xml_of("1"), "/tmp/x.xml": xml_of("2")})
    with tarfile.open(inner / "links.tgz", "w:gz") as tar:
        link = tarfile.TarInfo("1.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert [report.uid for report in read_reports(path, None)] == ["1", "2"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inner", "links.tgz", "r.tgz"]
    with pytest.raises(DataError, match="holds no XML file"):
        read_reports(inner / "links.tgz", None)


def test_a_truncated_archive_and_other_files_are_named(tmp_path: Path) -> None:
    path = reports_as_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    for wrong in (path, tmp_path / "absent.tgz"):
        with pytest.raises(DataError, match=rf"{wrong.name}: cannot be read to its end"):
            read_reports(wrong, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no XML file"):
        read_reports(tmp_path / "empty", None)


def test_a_report_that_stands_twice_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "r.tgz", {"1.xml": xml_of("1"), "copy.xml": xml_of("1")})
    with pytest.raises(DataError, match="report CXR1 appears twice"):
        read_reports(path, None)


def test_broken_csv_files_are_named(tmp_path: Path) -> None:
    reports = reports_as_csv(tmp_path)
    with pytest.raises(DataError, match=r"give indiana_projections\.csv next to it"):
        read_reports(reports, None)
    with pytest.raises(DataError, match=r"indiana_reports\.csv: column 'filename' is missing"):
        read_reports(reports, reports)
    text = reports.read_text()
    reports.write_bytes(text.replace("Cough", "toux sévère").encode("latin-1"))
    latin = r"indiana_reports\.csv, line 2: not utf-8, perhaps latin-1 or cp1252; save it as UTF"
    with pytest.raises(DataError, match=latin):
        read_reports(reports, projections(tmp_path))
    reports.write_bytes(b"")
    with pytest.raises(DataError, match=r"indiana_reports\.csv: is empty and holds no row"):
        read_reports(reports, projections(tmp_path))
    reports.write_text(text.replace("\n1,", "\none,"))
    with pytest.raises(DataError, match="line 2: uid must be a number"):
        read_reports(reports, projections(tmp_path))


def test_csv_files_may_be_compressed_and_come_from_another_system(tmp_path: Path) -> None:
    plain = read_reports(reports_as_csv(tmp_path), projections(tmp_path))
    paths = [tmp_path / "indiana_reports.csv", tmp_path / "indiana_projections.csv"]
    for path in paths:
        content = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(content))
    assert read_reports(*(path.with_suffix(".csv.gz") for path in paths)) == plain


def test_a_folder_without_images_of_a_known_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        ImageIndex.scan(tmp_path / "absent")
    write_images(tmp_path / "photos", ["holiday.png"])
    with pytest.raises(DataError, match="no image is named as in NLMCXR_png"):
        ImageIndex.scan(tmp_path / "photos")


def test_images_of_r2gen_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_images(tmp_path, [f"CXR7_IM-2263/{k}.png" for k in range(12)])
    images = ImageIndex.scan(tmp_path).by_uid["7"]
    assert [Path(image.path).name for image in images] == [f"{k}.png" for k in range(12)]
    assert [image.image_id for image in images] == [f"CXR7_IM-2263/{k}" for k in range(12)]


@pytest.mark.slow
def test_the_real_archive_has_the_published_counts(tmp_path: Path) -> None:
    source = IUXraySource(root=shared_data() / "iu_xray")
    summary = prepare(source, tmp_path / "studies", USUAL)
    assert seen(summary) == 3955
    # 3,419 as published; the findings of one are the word "Please", which are none.
    assert fact(summary, "with findings and impression") == 3418
    assert seen(summary) == kept(summary) + sum(left_out(summary).values())
    studies = {study.study_id: study for study in StudySet.load(tmp_path / "studies")}
    assert set(studies) == {"CXR7", "CXR1900"}  # the two with images at hand
    for study in studies.values():
        assert [image.view for image in study.images] == [View.FRONTAL, View.LATERAL]
    assert [image.image_id for image in studies["CXR7"].images] == [
        "CXR7_IM-2263-1001",
        "CXR7_IM-2263-2001",
    ]


@pytest.mark.slow
def test_both_forms_of_the_real_data_set_give_the_same_studies(tmp_path: Path) -> None:
    folder = shared_data() / "iu_xray"
    xml = real_reports()
    table = read_reports(folder / "indiana_reports.csv", folder / "indiana_projections.csv")
    assert (len(xml), len(table)) == (3955, 3851)
    assert [report.uid for report in table if report.findings != xml[report.uid].findings] == []
    # Image ids and views too: what the CSV form lists is in the XML, which lists 4 images more.
    unlike = [report.uid for report in table if set(report.images) - set(xml[report.uid].images)]
    assert unlike == []


@pytest.mark.slow
def test_every_real_csv_name_is_an_image_of_its_report() -> None:
    rows = read_table(shared_data() / "iu_xray" / "indiana_projections.csv").rows
    unmapped = []
    for row in rows:
        uid, name = str(row.cells["uid"]), str(row.cells["filename"])
        ids = {image_id for image_id, _ in real_reports()[uid].images}
        if image_id_candidates(uid, name)[0] not in ids:
            unmapped.append(name)
    assert (len(rows), unmapped) == (7466, [])


TWO_FINDINGS = (
    '<eCitation><uId id="CXR1"/><Abstract><AbstractText Label="FINDINGS">Clear lungs.'
    '</AbstractText><AbstractText Label="IMPRESSION">Normal.</AbstractText>'
    '<AbstractText Label="Findings">Café size: 3 cm.</AbstractText>'
    '<AbstractText Label="FINDINGS">Clear lungs.</AbstractText></Abstract></eCitation>'
)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("", "utf-8"),
        ("", "utf-16"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("utf-16", "utf-16-be"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("utf-32", "utf-32"),
        ("cp037x", ""),
        ("utf-8", "latin-1"),
        ("base64", "utf-8"),
    ],
)
def test_findings_elements_are_joined_in_any_encoding(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    said = f' encoding="{declared}"' if declared else ""
    text = f'<?xml version="1.0"{said}?>{TWO_FINDINGS}'
    (tmp_path / "1.xml").write_bytes(text.encode(encoding or "utf-8"))
    if declared in ("cp037x", "base64") or (declared, encoding) == ("utf-8", "latin-1"):
        with pytest.raises(DataError, match=r"1\.xml: is not in the encoding that it names"):
            read_reports(tmp_path, None)
        return
    (report,) = read_reports(tmp_path, None)
    assert report.findings == "Clear lungs. Café size: 3 cm."


def test_a_bomb_of_entities_is_refused_in_every_encoding(tmp_path: Path) -> None:
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>{TWO_FINDINGS}'
    for encoding in ("utf-8", "utf-16", "utf-16-be"):
        (tmp_path / "1.xml").write_bytes(bomb.encode(encoding))
        with pytest.raises(DataError, match="has a DOCTYPE"):
            read_reports(tmp_path, None)
