"""No command says on its output, in an error or in a file of numbers what a report says.

A sentence is planted in every field of every input, and each command is driven into as many of its
errors as there are ways to be wrong. Ids, file names, line and column numbers may be said; single
words of a sentence may not.
"""

import json
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from editgrpo.cli import main
from editgrpo.data.prepared.store import StudySet
from editgrpo.evaluation import scoring_plan
from tests.builders import write_set
from tests.data.described import STUDIES
from tests.data.trees.rexgradient import entry

CANARY = "The canary sings at dawn, the linnet rests."
SHOUTED = CANARY.upper()
WORDS = ("canary", "sings", "dawn", "linnet", "rests")
HEADER = "study_id,file,view,split,time,findings"
GOOD = f"s1,a.png,PA,train,2024-03-31,{CANARY.replace(',', '')}"
MAP = {
    "study_id": "study_id",
    "image": "file",
    "view": "view",
    "split": "split",
    "time": "time",
    "findings": "findings",
}

Run = Callable[..., str]


def assert_silent(*texts: str) -> None:
    for text in texts:
        for word in WORDS:
            assert word not in text.lower(), text


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Run the command line, check that it keeps silent, and return all that it said."""

    def call(*words: str | Path, code: int | None = 2) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert_silent(said, caplog.text)
        assert code is None or stop.value.code == code, said
        if stop.value.code == 2:
            assert len(captured.err.strip().splitlines()) == 1, captured.err
        return said

    return call


def prepare_folder(run: Run, table: Path, *more: str | Path, code: int | None = 2) -> str:
    columns = [word for name, column in MAP.items() for word in ("--column", f"{name}={column}")]
    words = ("--images", table.parent, "--output", table.parent / "out", "--without-images")
    return run("prepare", "folder", table, *words, *columns, *more, code=code)


TABLES: dict[str, bytes] = {
    "no header": f"{GOOD}\n{GOOD}\n".encode(),
    "no header, the report first": f'"{CANARY}",s1,a.png\n"{CANARY}",s2,b.png\n'.encode(),
    "no header, short text": b"s1,a.png,canary sings\ns2,b.png,canary rests\n",
    "no header, twice": b"s1,Canary.,Canary.\ns2,Canary.,Canary.\n",
    "no header, semicolons": b"s1;a.png;canary sings.\ns2;b.png;linnet rests.\n",
    "one column": f"{CANARY}\n{CANARY}\n".encode(),
    "too many cells": f"{HEADER}\n{GOOD},{CANARY}\n".encode(),
    "too few cells": f"{HEADER}\n{CANARY}\n".encode(),
    "open quotation mark": f'{HEADER}\ns1,a.png,PA,train,2024,"{CANARY}\n'.encode(),
    "text behind a quotation mark": f'{HEADER}\ns1,a,PA,train,2024,"x" {CANARY}\n'.encode(),
    "another encoding": f"{HEADER}\n{GOOD} caf\xe9\n".encode("latin-1"),
    "zero bytes": f"{HEADER}\n{GOOD}\n".encode("utf-16-le"),
    "a split that is text": GOOD.replace("train", '"' + CANARY + '"')
    .join([HEADER + "\n", "\n"])
    .encode(),
    "a split of a few words": f"{HEADER}\ns1,a,PA,canary sings,2024,x\n".encode(),
    "a split that is a sentence of one word": f"{HEADER}\ns1,a,PA,Canary.,2024,x\n".encode(),
    "a time that is text": f'{HEADER}\ns1,a,PA,train,"{CANARY}",x\n'.encode(),
    "a time of a few words": f"{HEADER}\ns1,a,PA,train,canary sings,x\n".encode(),
    "times of two forms": f"{HEADER}\n{GOOD}\ns2,b.png,PA,train,12,{CANARY[:11]}\n".encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_a_wrong_table(tmp_path: Path, run: Run, content: bytes) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(content)
    said = prepare_folder(run, table)
    assert "table.csv" in said


JSON_LINES = {
    "cut off": f'{{"study_id": "s1", "findings": "{CANARY}',
    "not JSON": f'{{"study_id": "s1", "findings": {CANARY}}}',
    "a list": f'["{CANARY}"]',
    "a key that is text": json.dumps({CANARY: {"a": 1}}),
    "a key of a few words": json.dumps({"canary sings": {"a": 1}}),
    "a key that is missing": json.dumps({CANARY: "x"}),
    "a bad escape": f'{{"findings": "{CANARY} \\canary"}}',
}


@pytest.mark.slow
@pytest.mark.parametrize("content", JSON_LINES.values(), ids=JSON_LINES)
def test_wrong_json_lines(tmp_path: Path, run: Run, content: str) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text(content + "\n")
    assert "table.jsonl" in prepare_folder(run, table)


def test_a_view_that_is_text_is_counted_and_not_named(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    rows = [f's{k},{k}.png,"{CANARY}",train,2024-03-31,Clear lungs.' for k in range(3)]
    table.write_text("\n".join([HEADER, *rows, ""]))
    said = prepare_folder(run, table, "--dry-run", code=0)
    assert "View not understood, 3 times: (free text)" in said


def test_a_preparation_says_nothing_of_its_reports(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    sections = ("indication", "technique", "comparison", "findings", "impression")
    cells = ",".join(f'"{CANARY}"' for _ in sections)
    rows = [
        f"study_id,{','.join(sections)}",
        *(f"s{k},{cells}" for k in range(8)),
        f's9,"{CANARY}",,,,"{CANARY}"',  # no findings: left out
        f's1,"Another. {CANARY}",,,,',  # its rows disagree
        f",{cells}",  # no id
    ]
    table.write_text("\n".join([*rows, ""]))
    columns = [word for name in ("study_id", *sections) for word in ("--column", f"{name}={name}")]
    output = tmp_path / "out"
    run("prepare", "folder", table, "--without-images", "--output", output, *columns, code=0)
    for name in ("prepared.json", "rejected.jsonl", "README.md"):
        assert_silent((output / name).read_text())
    run("data", "check", output, code=None)
    run("data", "stats", output, "--json", tmp_path / "stats.json", code=0)
    assert_silent((tmp_path / "stats.json").read_text())
    for path in (*output.rglob("*"), tmp_path / "stats.json"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.slow
def test_a_wrong_template(tmp_path: Path, run: Run) -> None:
    spoken = replace(STUDIES[0], indication=CANARY, technique=CANARY, comparison=CANARY)
    studies = write_set(tmp_path / "set", [spoken])
    for source in (
        "{{ images[indication] }}",
        "{{ indication|attr(indication) }}",
        "{% include indication %}",
        "{{ indication.index(technique ~ '.') }}",
        "{{ indicaton }}",
        "{{ indication }}{{ 1/0 }}",
        "{{ indication * 10**9 }}",
        "{{ indication }}",  # no marker
        "<image>" * 9 + "{{ indication }}",
    ):
        template = tmp_path / "own.jinja"
        template.write_text(source)
        words = ("--output", tmp_path / "a.png", "--prompt-template", template)
        assert "own.jinja" in run("data", "show", studies, spoken.study_id, *words)


ROW = {"study_id": "s1", "prediction": CANARY, "reference": CANARY}
PREDICTIONS: dict[str, tuple[str, str]] = {
    "cut off": ("p.jsonl", json.dumps(ROW)[:-9]),
    "not JSON": ("p.jsonl", f"{CANARY}\n"),
    "a list": ("p.jsonl", json.dumps([CANARY])),
    "no id": ("p.jsonl", json.dumps({**ROW, "study_id": ""})),
    "no prediction": ("p.jsonl", json.dumps({"study_id": "s1", "reference": CANARY})),
    "prediction is a list": ("p.jsonl", json.dumps({**ROW, "prediction": [CANARY]})),
    "reference is empty": ("p.jsonl", json.dumps({**ROW, "reference": " "})),
    "twice": ("p.jsonl", f"{json.dumps(ROW)}\n{json.dumps(ROW)}"),
    "no header": ("p.csv", f's1,"{CANARY}","{CANARY}"\ns2,"{CANARY}.","x"'),
    "no column": ("p.csv", f'study_id,canary sings\ns1,"{CANARY}"'),
    "too many cells": ("p.csv", f"study_id,prediction,reference\ns1,{CANARY},{CANARY}"),
    "empty": ("p.jsonl", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content"), PREDICTIONS.values(), ids=PREDICTIONS)
def test_damaged_predictions(tmp_path: Path, run: Run, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    output = tmp_path / "scores.jsonl"
    assert name in run("score", path, "--output", output)
    assert name in run("evaluate", path, "--output", tmp_path / "evaluation")
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(ROW))
    run("score", good, "--compare", path, "--output", output)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.jsonl"
    rows = [{**ROW, "study_id": f"s{k}"} for k in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        RuntimeError(CANARY),
        KeyError(CANARY),
        OSError(CANARY),
        AssertionError(CANARY),
        UnicodeEncodeError("ascii", CANARY, 0, 1, CANARY),
        Exception(CANARY),
        EOFError(CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_scorer_whose_message_quotes_the_report(
    tmp_path: Path, run: Run, predictions: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Fails:
        name = "entity_f1/partial@rules"

        def read(self, texts: list[str]) -> list[str]:
            raise error

        def compare(self, candidates: list[str], references: list[str]) -> None: ...

    monkeypatch.setattr(scoring_plan, "load_component", lambda *_, **__: Fails())
    words = ("--metrics", "entity_f1/partial@rules", "--output", tmp_path / "scores.jsonl")
    said = run("score", predictions, *words)
    assert f"entity_f1/partial@rules: {type(error).__name__} in " in said


@pytest.mark.parametrize("given", [np.array([0.5]), np.ones((3, 1)), [CANARY] * 3, None])
def test_a_scorer_that_loses_reports(
    tmp_path: Path, run: Run, predictions: Path, monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    class Loses:
        name = "entity_f1/partial@rules"

        def read(self, texts: list[str]) -> list[str]:
            return list(texts)

        def compare(self, candidates: list[str], references: list[str]) -> object:
            return given

    monkeypatch.setattr(scoring_plan, "load_component", lambda *_, **__: Loses())
    words = ("--metrics", "entity_f1/partial@rules", "--output", tmp_path / "scores.jsonl")
    assert "entity_f1/partial@rules: " in run("score", predictions, *words)


@pytest.fixture(params=[400, 404, 500, 200])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that answers what it was asked, with a status or as something that is no answer."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(request.param, CANARY.rstrip("."))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "option"),
    [("green@radllama2-7b", "--green-endpoint"), ("crimson@judge", "--crimson-endpoint")],
)
def test_a_server_that_answers_with_the_report(
    tmp_path: Path,
    run: Run,
    predictions: Path,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    option: str,
) -> None:
    monkeypatch.setattr("editgrpo.metrics.judges.server.LONGEST_WAIT_S", 0.01)
    words = ("--metrics", metric, "--output", tmp_path / "scores.jsonl")
    run("score", predictions, *words, option, endpoint)


def test_files_of_scores_and_predictions_are_their_owners_alone(
    tmp_path: Path, run: Run, predictions: Path
) -> None:
    output = tmp_path / "scores" / "scores.jsonl"
    before = os.umask(0o022)
    try:
        run("score", predictions, "--output", output, "--metrics", "rules", code=0)
        run("evaluate", predictions, "--output", tmp_path / "evaluation", code=0)
    finally:
        os.umask(before)
    written = [*output.parent.iterdir(), *(tmp_path / "evaluation").iterdir()]
    assert len(written) >= 4
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


XML = {
    "an unknown entity": "<eCitation><a>&canary;</a></eCitation>",
    "text without an end": f"<eCitation><a>{CANARY}",
    "a bare ampersand": f"<eCitation><a>{CANARY} & linnet</a></eCitation>",
    "a tag that does not fit": f"<eCitation><a>{CANARY}</canary></eCitation>",
    "no id": f"<eCitation><a>{CANARY}</a></eCitation>",
    "an odd id": f'<eCitation><uId id="{CANARY}"/></eCitation>',
    "an attribute twice": '<eCitation><a canary="1" canary="2"/></eCitation>',
    "an unknown prefix": "<eCitation><canary:a/></eCitation>",
    "an odd encoding": f'<?xml version="1.0" encoding="canary"?><eCitation>{CANARY}</eCitation>',
}


@pytest.mark.slow
@pytest.mark.parametrize("content", XML.values(), ids=XML)
def test_wrong_xml(tmp_path: Path, run: Run, content: str) -> None:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "1.xml").write_text(content)
    with tarfile.open(tmp_path / "NLMCXR_reports.tgz", "w:gz") as archive:
        archive.add(tmp_path / "xml" / "1.xml", "ecgen-radiology/1.xml")
    words = ("--output", tmp_path / "out", "--without-images")
    assert "1.xml" in run("prepare", "iu-xray", "--root", tmp_path, *words)


@pytest.mark.parametrize(
    "content",
    [
        f'"{CANARY}",x,x,Two views,Cough,,{CANARY},Normal.\n' * 2,
        f"uid,MeSH,Problems,image,indication,comparison,findings,impression\n{CANARY},,,,,,,\n",
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\nCanary sings,,,,,,,\n",
        "uid,canary sings\n1,x\n",
    ],
)
def test_a_wrong_table_of_iu_xray(tmp_path: Path, run: Run, content: str) -> None:
    (tmp_path / "indiana_reports.csv").write_text(content)
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n1,a.png,Frontal\n")
    words = ("--output", tmp_path / "out", "--without-images")
    assert "indiana_reports.csv" in run("prepare", "iu-xray", "--root", tmp_path, *words)


def rexgradient(folder: Path, content: str) -> Path:
    metadata = folder / "metadata"
    metadata.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (metadata / f"{split}_metadata_view_position.json").write_text(content)
    return folder


@pytest.mark.parametrize("cut", [-1, -40, -300])
def test_damaged_json_of_rexgradient(tmp_path: Path, run: Run, cut: int) -> None:
    key, made = entry("A", "101", Findings=CANARY, Impression=CANARY, Indication=CANARY)
    text = json.dumps({key: made})
    for number, content in enumerate((text[:cut], text.replace(CANARY, f'"{CANARY}'))):
        root = rexgradient(tmp_path / str(number), content)
        words = ("--output", tmp_path / f"out{number}", "--without-images")
        assert ".json" in run("prepare", "rexgradient", "--root", root, *words)


@pytest.mark.parametrize("field", ["Findings", "Indication", "StudyDate", "ImageViewPosition"])
def test_odd_entries_of_rexgradient_are_counted(tmp_path: Path, run: Run, field: str) -> None:
    good = entry("A", "100", ["PA"], StudyDate=20150101)
    bad = [
        entry("B", str(200 + k), ["PA"], **{field: value})
        for k, value in enumerate(([CANARY], {CANARY: CANARY}, CANARY, 7))
    ]
    root = rexgradient(tmp_path / "set", json.dumps(dict([good, *bad])))
    words = ("--output", tmp_path / "out", "--without-images", "--dry-run")
    run("prepare", "rexgradient", "--root", root, *words, code=None)


def test_odd_class_rates(tmp_path: Path, run: Run, predictions: Path) -> None:
    rates = tmp_path / "rates.json"
    for value in (
        {CANARY: CANARY},
        {"labeler": "chexbert", "n": 1, "rates": {CANARY: 1}},
        {"labeler": "chexbert", "n": 1, "rates": {}, "canary sings": 1},
        [CANARY],
    ):
        rates.write_text(json.dumps(value))
        words = ("--class-rates", rates, "--output", tmp_path / "scores.jsonl", "--offline")
        run("score", predictions, "--metrics", "chexbert/report-inverse-frequency-14", *words)


def test_a_damaged_table_of_a_prepared_set(tmp_path: Path, run: Run) -> None:
    spoken = [replace(study, findings=CANARY, indication=CANARY) for study in STUDIES]
    studies = write_set(tmp_path / "set", spoken)
    table = next((studies / "studies").glob("train.arrow"))
    content = table.read_bytes()
    place = content.index(CANARY.encode())
    for damaged in (content[: place + 9], content.replace(b"sings", b"\xff\xfe\xfd\xfc\xfb")):
        table.write_bytes(damaged)
        run("data", "check", studies, code=None)
        run("data", "stats", studies, code=None)
    table.write_bytes(content)
    assert len(StudySet.load(studies)) == len(STUDIES)
