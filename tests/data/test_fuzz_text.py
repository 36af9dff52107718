"""Damaged text files of every reader: one line of ours, or a reading, and never anything else.

Valid files are mutated by seeded draws: cut, flipped, spliced with what is known to hurt. The same
draws come every time.
"""

import gzip
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from editgrpo.data.folder import TableSource
from editgrpo.data.folder.preparation import read_folder
from editgrpo.data.iu_xray.annotation import read_annotation
from editgrpo.data.iu_xray.reports import read_reports
from editgrpo.data.mimic_cxr.sections import parse_report
from editgrpo.data.mimic_cxr.tables import read_listing
from editgrpo.data.padchest_gr import PadChestGRSource, read_padchest_gr
from editgrpo.data.readers.csv_columns import read_columns
from editgrpo.data.readers.json_source import read_entries, read_items
from editgrpo.data.readers.table import read_table
from editgrpo.data.rexgradient import ReXGradientSource, read_rexgradient
from editgrpo.data.study import Split
from editgrpo.errors import EditGRPOError
from editgrpo.evaluation.predictions import read_predictions
from editgrpo.files import read_jsonl
from tests.data.trees import padchest_gr, rexgradient

pytestmark = pytest.mark.slow

_ROUNDS = 120
_HURTFUL: tuple[bytes, ...] = (
    b"", b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\n", b"\r",
    b"{", b"}", b"[", b"]", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"1e999", b"NaN",
    b"-Infinity", b"null", b"true",
    b'"\\ud800"', b"\\", b"\x1a", b"\xc3", b"\xed\xa0\x80", b"a" * 140_000,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"<![CDATA[", b"encoding='utf-7'",
    b"encoding='base64'", b"encoding='x'", b"sep=;\n", b"sep=", b"../", b"/etc/", b"\xe2\x80\xa8",
    b"20240231", b"FINDINGS:", b"IMPRESSION:", b"<|im_end|>",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file after one to four faults."""
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(content) + 1)
        end = min(len(content), place + rng.choice((0, 1, 1, 2, 5, 40)))
        fault = rng.randrange(5)
        if fault == 0:
            content = content[:place]
        elif fault == 1 and content:
            place %= len(content)
            flipped = content[place] ^ 1 << rng.randrange(8)
            content = content[:place] + bytes([flipped]) + content[place + 1 :]
        elif fault == 2:
            content = content[:place] + content[place:end] * 3 + content[end:]
        else:
            content = content[:place] + rng.choice(_HURTFUL) + content[end:]
    whole = rng.randrange(20)
    if whole == 0:
        return gzip.compress(content)[: rng.randrange(5, 400)]
    if whole == 1:
        return content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32", "utf-7"]))
    return content


CSV = b'id,file,text,why,when\n1,a.png,"Clear, both.",Cough.,2024-03-31\n2,b.png,Haze.,,20240401\n'
LINES = (
    b'{"id": 1, "file": ["a.png"], "text": "Clear."}\n{"id": "2", "file": "b.png", "text": null}\n'
)
PREDICTIONS = b'{"study_id": 7, "prediction": "Clear.", "reference": "Haze."}\n'
PREDICTIONS_CSV = b"study_id,prediction,reference\n1,a,b\n"
XML = (
    b'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR1"/><Abstract>'
    b'<AbstractText Label="FINDINGS">Clear &amp; wide.</AbstractText></Abstract>'
    b'<parentImage id="CXR1_1"><caption>Chest</caption></parentImage></eCitation>'
)
ANNOTATION = json.dumps({"train": [{"id": "CXR1_IM-1"}], "val": [], "test": [{"id": "CXR2_IM-2"}]})
METADATA = (
    b"dicom_id,subject_id,study_id,ViewPosition,ViewCodeSequence_CodeMeaning,StudyDate,StudyTime\n"
    b"aa-bb,10000011,50000010,PA,postero-anterior,21500102,101530.125\n"
)
SPLITS = b"dicom_id,study_id,subject_id,split\naa-bb,50000010,10000011,train\n"


def table(name: str) -> Callable[[Path, bytes], object]:
    def read(root: Path, content: bytes) -> object:
        (root / name).write_bytes(content)
        columns = {"study_id": "id", "image": "file", "findings": "text", "time": "when"}
        read_table(root / name)
        return read_folder(TableSource(table=root / name, columns=columns))

    return read


def of_file(
    reader: Callable[[Path], Iterable[object]], name: str
) -> Callable[[Path, bytes], object]:
    def read(root: Path, content: bytes) -> object:
        (root / name).write_bytes(content)
        return list(reader(root / name))

    return read


def iu_xml(root: Path, content: bytes) -> object:
    (root / "1.xml").write_bytes(content)
    return read_reports(root, None)


def iu_csv(root: Path, content: bytes) -> object:
    (root / "indiana_reports.csv").write_bytes(content)
    (root / "projections.csv").write_text("uid,filename,projection\n1,1_a.dcm.png,Frontal\n")
    return read_reports(root / "indiana_reports.csv", root / "projections.csv")


def mimic_tables(root: Path, content: bytes) -> object:
    (root / "mimic-cxr-2.0.0-metadata.csv").write_bytes(content)
    (root / "mimic-cxr-2.0.0-split.csv").write_bytes(SPLITS)
    return read_listing(root)


def mimic_report(_: Path, content: bytes) -> object:
    return parse_report(content.decode("utf-8", "replace"))


def of_rexgradient(root: Path, content: bytes) -> object:
    (root / "metadata").mkdir(exist_ok=True)
    (root / "metadata" / "train_metadata_view_position.json").write_bytes(content)
    return read_rexgradient(ReXGradientSource(root=root, splits=(Split.TRAIN,)))


def of_padchest(root: Path, content: bytes) -> object:
    if not (root / "master_table.csv").exists():
        padchest_gr.standard_tree(root)
    (root / "grounded_reports_20240819.json").write_bytes(content)
    return read_padchest_gr(PadChestGRSource(root=root))


ENTRIES = json.dumps(dict([rexgradient.entry("A", "1"), rexgradient.entry("B", "2")])).encode()
ITEMS = json.dumps(padchest_gr.standard_reports()).encode()
IU_CSV = b"uid,image,indication,comparison,findings,impression\n1,x,Cough.,None.,Clear.,Normal.\n"
REPORT = (
    b" FINAL REPORT\n INDICATION: ___\n\n FINDINGS:\n LUNGS: Clear.\n\n IMPRESSION: Fine.\n" * 2
)
READERS: dict[str, tuple[Callable[[Path, bytes], object], bytes]] = {
    "csv": (table("t.csv"), CSV),
    "json lines": (table("t.jsonl"), LINES),
    "columns": (of_file(lambda path: [read_columns(path, ("id", "text"))], "t.csv"), CSV),
    "entries": (of_file(read_entries, "t.json"), ENTRIES),
    "items": (of_file(read_items, "t.json"), ITEMS),
    "predictions": (of_file(read_predictions, "p.jsonl"), PREDICTIONS),
    "predictions as csv": (of_file(read_predictions, "p.csv"), PREDICTIONS_CSV),
    "jsonl": (of_file(read_jsonl, "l.jsonl"), LINES),
    "annotation": (of_file(read_annotation, "annotation.json"), ANNOTATION.encode()),
    "iu xml": (iu_xml, XML),
    "iu csv": (iu_csv, IU_CSV),
    "mimic tables": (mimic_tables, METADATA),
    "mimic report": (mimic_report, REPORT),
    "rexgradient": (of_rexgradient, ENTRIES),
    "padchest-gr": (of_padchest, ITEMS),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    read, content = READERS[name]
    read(tmp_path, content) if name != "json lines" else None  # its valid form lacks a column
    rng = random.Random(f"damage of {name}")
    refused = 0
    for _ in range(_ROUNDS):
        mutated = damaged(content, rng)
        try:
            read(tmp_path, mutated)
        except EditGRPOError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 600
    assert refused or name == "mimic report"
