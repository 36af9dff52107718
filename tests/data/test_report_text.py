"""No word of a report leaves a preparation but in the tables of studies.

Trees of every data set hold a rare word in each text of each report, and are broken in many ways;
what is printed, logged, raised and written beside the tables is searched for that word.
"""

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.mimic_tree import METADATA, SPLIT, write_tree

from editgrpo.cli import main
from editgrpo.errors import EditGRPOError
from tests.data.trees import mimic, padchest_gr, rexgradient

pytestmark = pytest.mark.slow

MARK = "xanthelasma"
TEXT = f"The {MARK} is unchanged, and there is no effusion on either side of the {MARK}."
TINY = ("--min-pixels", "784", "--max-pixels", "1568", "--workers", "1")


def folder(root: Path, text: str, **columns: str) -> list[str]:
    """Return the words that prepare a table, whose columns have the names of the fields."""
    root.mkdir(parents=True, exist_ok=True)
    rexgradient.draw_film(root / "a.png", 1)
    (root / "b.png").write_bytes(TEXT.encode())
    (root / "table.csv").write_text(text, encoding="utf-8")
    names = {"study_id": "study", "image": "file", "findings": "text"} | columns
    fields = [f"--column={field}={column}" for field, column in names.items()]
    return ["folder", str(root / "table.csv"), *fields]


def folder_of_many_faults(root: Path) -> list[str]:
    rows = [
        "study,file,view,indication,text",
        f's1,a.png,"{TEXT}","{TEXT}","{TEXT}"',
        f's2,b.png,PA,"{TEXT}","{TEXT}"',
        f's3,absent.png,PA,,"{TEXT}"',
        f's4,a.png,PA,,"{TEXT}"',
        f's4,a.png,PA,,"{TEXT} Two."',
        f's5,a.png,PA,"{TEXT}",',
    ]
    return folder(root, "\n".join([*rows, ""]), view="view", indication="indication")


def folder_with_text_for(field: str) -> Callable[[Path], list[str]]:
    """The column of the report is named where a split, time or other short value should stand."""

    def build(root: Path) -> list[str]:
        return folder(root, f'study,file,text\ns1,a.png,"{TEXT}"\n', **{field: "text"})

    return build


def folder_in_another_encoding(root: Path) -> list[str]:
    words = folder(root, "")
    text = f'study,file,text\ns1,a.png,"{TEXT} é {TEXT}"\n'
    (root / "table.csv").write_bytes(text.encode("latin-1"))
    return words


def folder_of_json_lines(line: str) -> Callable[[Path], list[str]]:
    def build(root: Path) -> list[str]:
        words = folder(root, "")
        (root / "table.jsonl").write_text(line + "\n")
        return [words[0], str(root / "table.jsonl"), *words[2:]]

    return build


def iu_xray(
    root: Path, xml: str, change: Callable[[bytes], bytes] = lambda content: content
) -> list[str]:
    (root / "ecgen-radiology").mkdir(parents=True)
    (root / "ecgen-radiology" / "1.xml").write_bytes(change(xml.encode()))
    (root / "NLMCXR_png").mkdir()
    rexgradient.draw_film(root / "NLMCXR_png" / "CXR1_1_IM-0001-4001.png", 1)
    return ["iu-xray", "--root", str(root)]


IU_REPORT = (
    '<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR1"/><Abstract>'
    + "".join(
        f'<AbstractText Label="{label}">{TEXT}</AbstractText>'
        for label in ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION", "SOMETHING")
    )
    + '</Abstract><parentImage id="CXR1_1_IM-0001-4001"/></eCitation>'
)


def iu_xray_csv(root: Path) -> list[str]:
    words = iu_xray(root, IU_REPORT)
    (root / "ecgen-radiology" / "1.xml").unlink()
    (root / "ecgen-radiology").rmdir()
    header = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    (root / "indiana_reports.csv").write_text(f'{header}\n1,x,x,x,,,"{TEXT}"\n2,"{TEXT}\n')
    (root / "indiana_projections.csv").write_text("uid,filename,projection\n")
    return words


def mimic_cxr(root: Path, change: Callable[[Path], None] = lambda root: None) -> list[str]:
    studies = [
        mimic.study("10000011", "50000010", mimic.PA, report=mimic.report_of(TEXT, TEXT)),
        mimic.study("10000011", "50000020", mimic.PA, report=mimic.report_of("", TEXT)),
        mimic.study("10000011", "50000030", mimic.PA, report=TEXT),
        mimic.study("10000011", "50000040", mimic.PA, report=f"{TEXT}\nFINDINGS{TEXT}\n:{TEXT}"),
        mimic.study("10000012", "50000050", mimic.PA, report=f"{MARK.upper()}: {TEXT}"),
    ]
    write_tree(root, studies)
    change(root)
    return ["mimic-cxr", "--root", str(root)]


def in_every_report(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        for path in root.rglob("s*.txt"):
            path.write_bytes(change(path.read_bytes()))

    return edit


def in_table(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / name).write_text((root / name).read_text().replace(old, new))

    return edit


def rexgradient_with(cut: int = 0, **fields: Any) -> Callable[[Path], list[str]]:
    """A set of two studies, of which the second has other fields; the file ends `cut` early."""

    def build(root: Path) -> list[str]:
        texts = dict.fromkeys(("Indication", "Comparison", "Findings", "Impression"), TEXT)
        entries = [
            rexgradient.entry("A", "1", **texts),
            rexgradient.entry("B", "2", **(texts | fields)),
        ]
        rexgradient.build(root, {"train": dict(entries)}, draw=rexgradient.draw_film)
        path = root / "metadata" / "train_metadata_view_position.json"
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return ["rexgradient", "--root", str(root), "--split", "train"]

    return build


def padchest_with(cut: int = 0, row: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A set of two studies, of which the second has other fields or cells."""

    def build(root: Path) -> list[str]:
        found = padchest_gr.abnormal(TEXT, TEXT)
        reports = [
            padchest_gr.report("101", "101_aaa.png", found),
            padchest_gr.report("102", "102_aaa.png", found, **fields),
        ]
        cells = {"sentence_en": TEXT, "sentence_es": TEXT}
        rows = [
            padchest_gr.row("101", "101_aaa.png", "train", "11", "20100101", **cells),
            padchest_gr.row(
                "102", "102_aaa.png", "test", "12", "20100101", **(cells | (row or {}))
            ),
        ]
        padchest_gr.build(root, reports, rows, draw=padchest_gr.draw_film)
        path = root / "grounded_reports_20240819.json"
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return ["padchest-gr", "--root", str(root)]

    return build


CASES: dict[str, Callable[[Path], list[str]]] = {
    "folder: many faults": folder_of_many_faults,
    **{
        f"folder: the report as {field}": folder_with_text_for(field)
        for field in ("split", "time", "view", "patient_id")
    },
    "folder: another encoding": folder_in_another_encoding,
    "folder: a cell too many": lambda root: folder(root, f"study,file,text\ns,a.png,{TEXT}\n"),
    "folder: a quote that stays open": lambda root: folder(
        root, f'study,file,text\ns,a.png,"{TEXT}\n'
    ),
    "folder: the report as header": lambda root: folder(root, f'"{TEXT}",b\n1,2\n'),
    "folder: half a JSON line": folder_of_json_lines(f'{{"study": "s", "text": "{TEXT}'),
    "folder: a list of texts": folder_of_json_lines(
        json.dumps({"study": "s", "file": "a.png", "text": [TEXT, {"a": TEXT}]})
    ),
    "folder: a text for a row": folder_of_json_lines(json.dumps(TEXT)),
    "iu-xray: as it should be": lambda root: iu_xray(root, IU_REPORT),
    "iu-xray: half a report": lambda root: iu_xray(root, IU_REPORT[:-150]),
    "iu-xray: an unknown entity": lambda root: iu_xray(
        root, IU_REPORT.replace("unchanged", "&unknown;")
    ),
    "iu-xray: another encoding": lambda root: iu_xray(
        root, IU_REPORT, lambda content: content.replace(b"unchanged", b"unch\xe9nged")
    ),
    "iu-xray: broken CSV": iu_xray_csv,
    "mimic-cxr: as it should be": mimic_cxr,
    "mimic-cxr: another encoding": lambda root: mimic_cxr(
        root, in_every_report(lambda content: content.replace(b"unchanged", b"unch\xe9nged"))
    ),
    "mimic-cxr: zero bytes": lambda root: mimic_cxr(
        root, in_every_report(lambda content: content.replace(b" ", b"\0"))
    ),
    "mimic-cxr: the report as split": lambda root: mimic_cxr(
        root, in_table(SPLIT, ",train", f',"{TEXT}"')
    ),
    "mimic-cxr: the report as a view, date and time": lambda root: mimic_cxr(
        root, in_table(METADATA, "postero-anterior", f'"{TEXT}"')
    ),
    "mimic-cxr: the report as a date": lambda root: mimic_cxr(
        root, in_table(METADATA, "21500102", f'"{TEXT}"')
    ),
    "mimic-cxr: cells too many": lambda root: mimic_cxr(
        root, in_table(METADATA, "21500102", f"{TEXT},{TEXT}")
    ),
    "rexgradient: as it should be": rexgradient_with(),
    "rexgradient: half a file": rexgradient_with(cut=700),
    "rexgradient: a list of texts": rexgradient_with(Findings=[TEXT]),
    "rexgradient: the report as views": rexgradient_with(ImageViewPosition=TEXT),
    "rexgradient: the report as a view": rexgradient_with(ImageViewPosition=[TEXT]),
    "rexgradient: the report as a date": rexgradient_with(StudyDate=TEXT),
    "rexgradient: the report as patient": rexgradient_with(PatientID=[TEXT]),
    "padchest-gr: as it should be": padchest_with(),
    "padchest-gr: half a file": padchest_with(cut=120),
    "padchest-gr: a text for findings": padchest_with(findings=TEXT),
    "padchest-gr: texts for findings": padchest_with(findings=[TEXT, [TEXT]]),
    "padchest-gr: a list for a sentence": padchest_with(findings=[{"sentence_en": [TEXT]}]),
    "padchest-gr: a sentence as split": padchest_with(row={"split": TEXT}),
    "padchest-gr: a sentence as date": padchest_with(
        row={"StudyDate_DICOM": TEXT, "StudyDate": TEXT}
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_no_word_of_a_report_is_printed_logged_raised_or_left_beside_the_tables(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    case: str,
) -> None:
    words, output = CASES[case](tmp_path / "root"), tmp_path / "set"
    caplog.set_level(logging.DEBUG)
    raised = ""
    try:
        # With --debug an error comes through with its causes: more than is printed without.
        main(["prepare", *words, "--out", str(output), *TINY, "--debug"])
    except SystemExit as stop:
        assert stop.code == 0
    except EditGRPOError as error:
        raised = "".join(traceback.format_exception(error))
    printed = capfd.readouterr()
    # Boxes stand with their sentences.
    tables = {*output.rglob("studies/*.arrow"), *output.rglob("boxes.arrow")}
    files = [path for path in output.rglob("*") if path.is_file() and path not in tables]
    for text in (printed.out, printed.err, caplog.text, raised):
        assert MARK not in text.lower()
    assert [path.name for path in files if MARK.encode() in path.read_bytes().lower()] == []
    # The word was there to be told: where a set was written, its tables hold it.
    assert raised or any(MARK.encode() in path.read_bytes() for path in tables)
