"""Time the metadata part of `editgrpo prepare mimic-cxr` at MIMIC-CXR's full size.

    .venv/bin/python -m benchmarks.prepare_mimic [--studies 2000] [--reports zip] [--keep FOLDER]

A tree in the true layout is generated: 227,835 studies of 65,379 patients with 377,110 image rows,
the published number of studies in each split, invented reports of about 700 characters, and tiny
images for a sample. Then, in a process of its own: read both tables, read and part all reports,
find priors, apply the rules of inclusion, count the flow (the command's --dry-run). The claim: less
than 90 s and less than 3 GiB on two cores. Last, the studies of the sample are prepared whole, to
show that the tree is one. The last line printed is one JSON object.
"""

import argparse
import gzip
import json
import os
import shutil
import tempfile
import time
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from benchmarks.children import measured_by_child
from benchmarks.memory import peak_memory_mib
from benchmarks.mimic_tree import METADATA, SPLIT, TreeForm, generate, write_tree
from editgrpo.data.mimic_cxr import MimicCXRSource
from editgrpo.data.prepare import PrepareOptions
from editgrpo.data.prepared.store import StudySet
from editgrpo.data.sources import prepare
from editgrpo.display.flow import flow_lines

LIMIT_S, LIMIT_MIB = 90, 3 * 1024


def main() -> None:
    """Generate, measure in another process, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, help="fewer studies, in the same proportions")
    parser.add_argument("--reports", choices=("zip", "files"), default="zip")
    parser.add_argument("--images-of", type=int, default=100, help="studies with image files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="leave the tree here, or use the one that is")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    with tempfile.TemporaryDirectory(prefix="editgrpo-mimic-") as folder:
        root = arguments.keep or Path(folder) / "mimic-cxr"
        generated_s = make_tree(root, arguments)
        result = measured_by_child("benchmarks.prepare_mimic", "--measure", root)
        result["sample"] = prepare_sample(root, Path(folder), arguments.images_of)
    result |= {"reports": arguments.reports, "generated_s": generated_s, "cores": os.cpu_count()}
    result["within_limits"] = (
        result["process_s"] < LIMIT_S and result["peak_memory_mib"] < LIMIT_MIB
    )
    print("\n".join(result.pop("lines")))
    print(json.dumps(result))


def make_tree(root: Path, arguments: argparse.Namespace) -> float:
    """Generate the tree, unless it is there; return the seconds that it took."""
    began = time.perf_counter()
    if not root.exists():
        studies = generate(arguments.studies, seed=arguments.seed)
        form = TreeForm(
            gzipped=True,
            zipped_reports=arguments.reports == "zip",
            images_of=arguments.images_of,
        )
        write_tree(root, studies, form)
    return round(time.perf_counter() - began, 1)


def measure(root: Path) -> dict[str, Any]:
    """Do the metadata part in this process."""
    stages: dict[str, float] = {}
    began = time.perf_counter()

    def progress(stage: str, done: int, total: int) -> None:
        stages.setdefault(f"until {stage.lower()}", round(time.perf_counter() - began, 2))
        if done == total:
            stages[f"until the end of {stage.lower()}"] = round(time.perf_counter() - began, 2)

    summary = prepare(
        MimicCXRSource(root=root), "unused", PrepareOptions(dry_run=True), progress=progress
    )
    seconds = time.perf_counter() - began
    return {
        "studies": summary.flow.row("studies in the source").total,
        "patients": summary.flow.row("patients in all").total,
        "images": summary.flow.row("images in all").total,
        "kept": summary.flow.row("studies kept").total,
        "seconds": round(seconds, 2),
        "processor_s": round(time.process_time(), 2),
        "stages_s": stages,
        "peak_memory_mib": peak_memory_mib(),
        "lines": flow_lines(summary.flow),
    }


def prepare_sample(root: Path, folder: Path, images_of: int) -> dict[str, Any]:
    """Prepare the studies that have image files, images included: a part of the metadata is a part
    of the data set."""
    tables = folder / "tables"
    tables.mkdir()
    shutil.copy(root / f"{SPLIT}.gz", tables)
    with gzip.open(root / f"{METADATA}.gz", "rt", encoding="utf-8") as rows:
        header = next(rows)
        of_study = groupby(rows, key=lambda row: row.split(",")[2])
        first = [row for _, group in islice(of_study, images_of) for row in group]
    (tables / METADATA).write_text("".join([header, *first]), encoding="utf-8")
    began = time.perf_counter()
    summary = prepare(MimicCXRSource(root=root, tables=tables), folder / "studies")
    return {
        "studies_kept": summary.flow.row("studies kept").total,
        "images": len(StudySet.load(folder / "studies").images),
        "seconds": round(time.perf_counter() - began, 2),
    }


if __name__ == "__main__":
    main()
