"""Run the reference packages, each in a process of its own, and compare with what they say.

An oracle is a script in `oracles/` that imports one reference package, reads one JSON object on
standard input and writes one JSON object as the last line of standard output (what the package
itself prints before that line does no harm). It runs under the interpreter that the variable
EDITGRPO_ORACLE_PYTHON names, with the folder of its package first on its path, so packages that
cannot live together do not have to. `make parity` sets these variables; without them tests skip.
"""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

PYTHON_VARIABLE = "EDITGRPO_ORACLE_PYTHON"
ORACLES = Path(__file__).parent / "oracles"
# Nothing that an oracle loads may come from anywhere but the folders that the request names.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "utf-8",
    # Keeps the folder of the scripts behind the package: `radgraph.py` shall not hide `radgraph`.
    "PYTHONSAFEPATH": "1",
}
STDERR_TAIL_CHARACTERS = 4000

_answers: dict[str, dict[str, Any]] = {}


class OracleRunner(Protocol):
    """What `run_oracle` is, for the annotation of a test's argument."""

    def __call__(
        self, script: Path, request: dict[str, Any], *, package: str, timeout_s: float = 300.0
    ) -> dict[str, Any]: ...


def run_oracle(
    script: Path, request: dict[str, Any], *, package: str, timeout_s: float = 300.0
) -> dict[str, Any]:
    """Ask a reference package in a process of its own; skip the test where there is none.

    The answer is remembered for the session: the same script, package and request are run once.

    Args:
        script: the oracle; a relative path counts from the folder `oracles`.
        request: what the script reads, JSON values only.
        package: name and, where two versions are compared, version of the reference package:
            ratescore-0.5.0, ratescore-0.6.0, radeval, f1chexbert or radgraph. The folder of
            `ratescore-0.5.0` stands in the variable EDITGRPO_ORACLE_RATESCORE_0_5_0.
        timeout_s: seconds after which the process is ended and the test fails.

    Returns:
        The JSON object of the last line of the script's standard output.
    """
    script = ORACLES / script
    sent = json.dumps(request, sort_keys=True)
    key = hashlib.sha256(f"{script}\0{package}\0{sent}".encode()).hexdigest()
    if key not in _answers:
        python, environment = oracle_environment(package)
        _answers[key] = _ask([python, str(script)], sent, environment, timeout_s)
    return json.loads(json.dumps(_answers[key]))  # a copy: a test may change what it was given


def oracle_environment(package: str) -> tuple[str, dict[str, str]]:
    """Return interpreter and environment variables for a package, or skip the test.

    Args:
        package: as for `run_oracle`.

    Returns:
        The path of the interpreter, and the whole environment of the process.
    """
    variable = "EDITGRPO_ORACLE_" + re.sub(r"\W+", "_", package).upper()
    for name in (PYTHON_VARIABLE, variable):
        if not os.environ.get(name):
            pytest.skip(f"no reference package {package} at hand ({name} is not set): make parity")
    folder = os.environ[variable]
    if not Path(folder).is_dir():
        pytest.fail(f"{variable} names a folder that is not there: {folder}")
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH"), str(ORACLES)]))
    return os.environ[PYTHON_VARIABLE], {**os.environ, **OFFLINE, "PYTHONPATH": path}


def _ask(
    command: list[str], sent: str, environment: dict[str, str], timeout_s: float
) -> dict[str, Any]:
    name = Path(command[-1]).name
    try:
        process = subprocess.run(
            command,
            input=sent,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"the oracle {name} did not answer within {timeout_s:g} s", pytrace=False)
    lines = process.stdout.splitlines()
    tail = process.stderr[-STDERR_TAIL_CHARACTERS:]
    if process.returncode != 0:
        pytest.fail(f"the oracle {name} ended with {process.returncode}:\n{tail}", pytrace=False)
    try:
        answer = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        pytest.fail(f"the last line of the oracle {name} is not JSON:\n{tail}", pytrace=False)
    if not isinstance(answer, dict):
        pytest.fail(f"the oracle {name} answered no JSON object", pytrace=False)
    return answer


@pytest.fixture(name="run_oracle", scope="session")
def run_oracle_fixture() -> OracleRunner:
    """Give tests `run_oracle` as an argument."""
    return run_oracle
