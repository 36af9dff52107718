"""The Python of the page on sharing runs, on a model of one of the tests."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.builders import REPOSITORY
from tests.sharing.conftest import fine_tune, published
from tests.training.tiny_run import Tiny

PAGE = (REPOSITORY / "docs" / "share.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_examples_run(
    tiny: Tiny, tiny_32: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "sft"
    fine_tune(published("qwen2_5_vl", tiny, tiny_32, tmp_path), run)
    studies = shutil.copytree(tiny.studies, tmp_path / "studies" / "mine")
    prepared = studies / "prepared.json"
    prepared.write_text(json.dumps(json.loads(prepared.read_text()) | {"dataset": "phantom"}))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(tiny.studies), "studies/mine"))
    monkeypatch.chdir(tmp_path)
    request, export = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    for block in (export, request):
        exec(compile(block, "docs/share.md", "exec"), {})
    assert "license: apache-2.0" in (tmp_path / "exports" / "cxr" / "README.md").read_text()
