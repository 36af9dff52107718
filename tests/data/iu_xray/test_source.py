import gzip
from pathlib import Path

import pytest

from editgrpo.data.iu_xray.images import ImageIndex
from editgrpo.data.iu_xray.source import IUXraySource, discover, resolve
from editgrpo.errors import ConfigError, DataError

REPORTS = ("NLMCXR_reports.tgz", "ecgen-radiology/1.xml", "indiana_reports.csv")
ORIGINAL = ("NLMCXR_png/CXR1_1_IM-0001-4001.png", "NLMCXR_png/CXR2_IM-0652-1001.png")
CSV = ("images/images_normalized/1_IM-0001-4001.dcm.png",)
R2GEN = ("images/CXR1_1_IM-0001/0.png", "images/CXR2_IM-0652/0.png")
DICOM = ("NLMCXR_dcm/1/1_IM-0001-4001.dcm", "NLMCXR_dcm/2/2_IM-0652-1001.dcm")


def tree(root: Path, *names: str) -> Path:
    """Write empty files; discovery looks at names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    root.mkdir(exist_ok=True)
    return root


def found(source: IUXraySource, root: Path) -> dict[str, str]:
    """Return what was found, from the root on."""
    paths = {name: getattr(source, name) for name in ("reports", "projections", "images")}
    paths["annotation"] = source.annotation
    return {name: path.relative_to(root).as_posix() for name, path in paths.items() if path}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            (*REPORTS, "indiana_projections.csv", *ORIGINAL, "readme.txt"),
            {
                "reports": "NLMCXR_reports.tgz",
                "projections": "indiana_projections.csv",
                "images": "NLMCXR_png",
            },
        ),
        (
            ("kaggle/indiana_reports.csv", "kaggle/indiana_projections.csv", *CSV),
            {
                "reports": "kaggle/indiana_reports.csv",
                "projections": "kaggle/indiana_projections.csv",
                "images": "images/images_normalized",
            },
        ),
        (
            ("ecgen-radiology/1.xml", "r2gen/annotation.json", *R2GEN),
            {
                "reports": "ecgen-radiology",
                "images": "images",
                "annotation": "r2gen/annotation.json",
            },
        ),
        (
            ("indiana_reports.csv.gz", "indiana_projections.csv.gz", *DICOM),
            {
                "reports": "indiana_reports.csv.gz",
                "projections": "indiana_projections.csv.gz",
                "images": "NLMCXR_dcm",
            },
        ),
        ((), {}),
    ],
)
def test_the_files_of_a_download_are_found_wherever_they_lie(
    tmp_path: Path, names: tuple[str, ...], expected: dict[str, str]
) -> None:
    root = tree(tmp_path / "openi", *names)
    assert found(discover(root), root) == expected


@pytest.mark.parametrize("taken", range(3))
def test_of_several_forms_of_the_reports_the_most_complete_is_taken(
    tmp_path: Path, taken: int
) -> None:
    root = tree(tmp_path / "openi", *REPORTS[taken:])
    expected = ("NLMCXR_reports.tgz", "ecgen-radiology", "indiana_reports.csv")[taken]
    assert found(discover(root), root) == {"reports": expected}


@pytest.mark.parametrize("taken", range(4))
def test_of_several_layouts_of_images_the_first_is_taken(tmp_path: Path, taken: int) -> None:
    layouts = (ORIGINAL, CSV, R2GEN, DICOM)[taken:]
    root = tree(tmp_path / "openi", *(name for layout in layouts for name in layout))
    expected = ("NLMCXR_png", "images/images_normalized", "images", "NLMCXR_dcm")[taken]
    assert found(discover(root), root) == {"images": expected}


def test_of_several_files_of_one_name_the_least_deep_is_taken(tmp_path: Path) -> None:
    root = tree(tmp_path / "openi", "a/b/annotation.json", "z/annotation.json", "y/annotation.json")
    assert found(discover(root), root) == {"annotation": "y/annotation.json"}


def test_images_in_several_folders_are_found_from_the_folder_above_them(tmp_path: Path) -> None:
    root = tree(tmp_path / "openi", "png/1/CXR1_1_IM-0001-4001.png", "png/2/CXR2_IM-0652-1001.png")
    assert found(discover(root), root) == {"images": "png"}
    assert set(ImageIndex.scan(root / "png").by_id) == {"CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001"}


def test_what_is_given_wins_over_what_is_found(tmp_path: Path) -> None:
    root = tree(tmp_path / "openi", *REPORTS, *ORIGINAL, "annotation.json")
    source = IUXraySource(root=root, reports=root / "indiana_reports.csv", images=tmp_path / "mine")
    resolved = resolve(source, require_images=True)
    assert resolved.reports == root / "indiana_reports.csv"
    assert resolved.images == tmp_path / "mine"
    assert resolved.annotation == root / "annotation.json"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (ORIGINAL, r"openi: holds neither NLMCXR_reports\.tgz, nor its XML files, nor indiana"),
        (REPORTS, r"openi: holds no images named as in NLMCXR_png.*put them there, give their fol"),
        (
            (*REPORTS, "packed/NLMCXR_png.tgz"),
            r"packed/NLMCXR_png\.tgz: its images cannot be read while they are packed; unpack it",
        ),
    ],
)
def test_what_a_download_lacks_is_named(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    source = IUXraySource(root=tree(tmp_path / "openi", *names))
    with pytest.raises(DataError, match=message) as caught:
        resolve(source, require_images=True)
    assert "\n" not in str(caught.value)


def test_packed_images_do_not_matter_where_none_are_required(tmp_path: Path) -> None:
    root = tree(tmp_path / "openi", *REPORTS, "NLMCXR_png.tgz")
    assert resolve(IUXraySource(root=root), require_images=False).images is None


def test_a_source_without_reports_or_a_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no reports are given; give them, or the folder of"):
        resolve(IUXraySource(), require_images=False)
    with pytest.raises(DataError, match="absent: no such folder; give the one that holds the do"):
        discover(tmp_path / "absent")


def test_an_archive_in_place_of_the_image_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "NLMCXR_png.tgz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"NLMCXR_png\.tgz: is a file; unpack it, and give the fol"):
        ImageIndex.scan(tmp_path / "NLMCXR_png.tgz")


def test_of_several_files_of_one_image_one_of_the_first_layout_is_taken(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "openi",
        "a.jpg/CXR2_IM-0652-1001.jpg",
        "b/CXR2_IM-0652-1001.png",
        "c/CXR2_IM-0652-1001.png",
        "2_IM-0652-1001.dcm.png",
        "0/2_IM-0652-1001.dcm",
        "CXR2_IM-0652/0.png",
        "copy/CXR2_IM-0652/0.png",
    )
    index = ImageIndex.scan(root)
    assert index.by_id == {"CXR2_IM-0652-1001": str(root / "b/CXR2_IM-0652-1001.png")}
    (numbered,) = index.by_uid["2"]
    assert (numbered.image_id, numbered.path) == (
        "CXR2_IM-0652/0",
        str(root / "CXR2_IM-0652/0.png"),
    )
    # The listed image has a file, so R2Gen's numbered ones are not needed.
    (image,) = index.images_of("2", [("CXR2_IM-0652-1001", "Frontal")])
    assert (image.image_id, image.view) == ("CXR2_IM-0652-1001", "Frontal")
    assert index.images_of("2", [("CXR2_IM-9999-1001", "Frontal")]) == [numbered]
