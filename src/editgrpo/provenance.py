"""Where a result came from: configuration, versions, commit, seed, command, launch and start time.

Nothing here imports the libraries whose versions it states: they are read from the installed
packages' metadata.
"""

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import editgrpo
from editgrpo.errors import ConfigError, TrainingError
from editgrpo.files import read_json_object, real_path, write_json, write_text
from editgrpo.foreign import reading
from editgrpo.recipes import dump_config
from editgrpo.recipes.values import plain_value
from editgrpo.recipes.yaml_core import parse_yaml

CONFIG_FILE = "config.yaml"
PROVENANCE_FILE = "provenance.json"

# The packages that a result can depend on.
PACKAGES = (
    "accelerate",
    "datasets",
    "numpy",
    "peft",
    "pillow",
    "rouge-score",
    "sacrebleu",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)

# What a resumed run may change: places, whose content is compared (training/run/inputs.py), what
# does not change the result, and how long a run is.
FREE_ON_RESUME = frozenset(
    {
        "output",
        "model.path",
        "model.revision",
        "model.gradient_checkpointing",
        "data.folder",
        "data.prompt_template",
        "clinical.crimson_concurrency",
        "clinical.crimson_endpoint",
        "clinical.crimson_prompt",
        "clinical.crimson_retries",
        "clinical.crimson_timeout_s",
        "clinical.green_concurrency",
        "clinical.green_endpoint",
        "clinical.green_retries",
        "clinical.green_timeout_s",
        "clinical.models",
        "clinical.offline",
        "clinical.sources",
        "clinical.store",
        "reward.class_rates",
        "reward.timeout_s",
        "rollout.vllm.gpu_memory_utilization",
        "rollout.vllm.group_port",
        "rollout.vllm.max_model_length",
        "rollout.vllm.server_timeout_s",
        "rollout.vllm.server_url",
        "rollout.vllm.tensor_parallel_size",
        "model.feature_disk_mib",
        "model.feature_ram_mib",
        "tokens_per_pass",
        "micro_batch_size",
        "save_every",
        "keep_checkpoints",
        "max_dropped_share",
        "report_to",
        "report_text",
        "run_name",
        "steps",
    }
)

_GIT_TIMEOUT_S = 10

# What lies beside an output only while a command writes it: locks, and scores that wait.
_PASSING = (":(exclude,glob)**/.*.lock", ":(exclude,glob)**/.*.scoring/**")


@dataclass(frozen=True, slots=True)
class GitState:
    """The source checkout that the package runs from.

    Attributes:
        commit: 40 hexadecimal digits.
        dirty: Whether a tracked file differs from it, or a file is neither tracked nor ignored. A
            lock does not count: it is there only while a command writes.
    """

    commit: str
    dirty: bool


def git_state(checkout: Path | None = None, *, apart: str | None = None) -> GitState | None:
    """Ask git which commit the package's source is at.

    Args:
        checkout: Root of a working tree; None takes the one that the package is installed from.
        apart: A folder in it whose changes do not count, such as that of results.

    Returns:
        The state; None if the package is not run from a checkout, or git is not there or has no
        answer.
    """
    root = checkout or Path(editgrpo.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    left_out = _PASSING if apart is None else (*_PASSING, f":(exclude){apart}")
    changes = _git(root, "status", "--porcelain", "--", ".", *left_out)
    if commit is None or changes is None:
        return None
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(root: Path, *arguments: str) -> str | None:
    # Without optional locks git does not write to the index of a checkout that others may use.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def package_versions() -> dict[str, str | None]:
    """Return the versions of Python, of the platform and of every package of `PACKAGES`; None for
    one that is not installed."""
    versions: dict[str, str | None] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def processor_name() -> str:
    """Name this machine's processor, as far as it is known."""
    known = Path("/proc/cpuinfo")  # the platform module names the architecture alone on Linux
    if known.is_file():
        for line in known.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def command_line() -> str:
    """Return the command that runs now, quoted so that a shell reads it back as it was."""
    program, *arguments = sys.argv
    return shlex.join([Path(program).name, *arguments])


def write_provenance(
    folder: Path, *, config: Any, seed: int | None, command: str, launch: Mapping[str, int | str]
) -> None:
    """Write `config.yaml` and `provenance.json` into a run folder, each whole or not at all.

    Args:
        folder: The run folder; made if missing.
        config: The resolved configuration, a dataclass of `editgrpo.config`.
        seed: The seed that all draws derive from; None if nothing is drawn.
        command: The command line, see `command_line`.
        launch: The number of processes, and how they share the model.
    """
    write_text(folder / CONFIG_FILE, dump_config(config))
    provenance = {
        **_software(),
        "seed": seed,
        "command": command,
        "launch": dict(launch),
        "started": _now(),
    }
    write_json(folder / PROVENANCE_FILE, provenance)


def note_resume(
    folder: Path, *, config: Any, step: int, command: str, launch: Mapping[str, int | str]
) -> None:
    """Note in `provenance.json` that a run goes on, and in `config.yaml` with which settings.

    Args:
        folder: The run folder.
        config: The resolved configuration that it goes on with.
        step: The last step of the checkpoint from which it does.
        command: The command line, see `command_line`.
        launch: The number of processes, and how they share the model.

    Raises:
        TrainingError: the provenance is damaged.
    """
    provenance = read_provenance(folder)
    resumed = {
        "step": step,
        **_software(),
        "command": command,
        "launch": dict(launch),
        "time": _now(),
    }
    earlier = provenance.get("resumed")
    resumes = [*(earlier if isinstance(earlier, list) else []), resumed]
    write_json(folder / PROVENANCE_FILE, {**provenance, "resumed": resumes})
    write_text(folder / CONFIG_FILE, dump_config(config))


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read `provenance.json` of a run folder; nothing if there is none.

    Args:
        folder: The run folder.

    Returns:
        Its object.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / PROVENANCE_FILE
    if not path.is_file():
        return {}
    remedy = "put back the file, or delete it to go on without a record of how the run began"
    return read_json_object(path, remedy, error=TrainingError)


def _software() -> dict[str, Any]:
    state = git_state()
    return {
        "editgrpo": editgrpo.__version__,
        "git": asdict(state) if state else None,
        "versions": package_versions(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def name_of_run(folder: Path) -> str:
    """Return what a run is called: the `run_name` of its `config.yaml`, or its folder's name.

    Args:
        folder: The run folder. A file of settings that cannot be read gives no name.

    Returns:
        The name.
    """
    path = folder / CONFIG_FILE
    own = None
    if path.is_file():
        with suppress(ConfigError, OSError, UnicodeError):
            settings = parse_yaml(path.read_text(encoding="utf-8"), str(path))
            own = settings.get("run_name") if isinstance(settings, dict) else None
    return own if isinstance(own, str) and own else real_path(folder).name


def check_same_config(folder: Path, config: Any) -> None:
    """Make sure that a run goes on with the settings it was started with.

    Args:
        folder: The run folder; without a `config.yaml` there is nothing to compare.
        config: The configuration to go on with; keys of `FREE_ON_RESUME` may differ.

    Raises:
        TrainingError: another key differs; the message names it. Or the file is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return
    remedy = "put back the file, or start another run in a new folder"
    with reading(path, remedy, error=TrainingError):
        text = path.read_text(encoding="utf-8")
    settings = parse_yaml(text, str(path))
    if not isinstance(settings, dict) or not settings:
        raise TrainingError(f"{path}: holds no settings; {remedy}")
    before = flat_settings(settings)
    now = flat_settings(plain_value(config))
    for key in sorted(before.keys() | now.keys()):
        if not _is_free(key) and before.get(key) != now.get(key):
            raise TrainingError(
                f"{path}: the run was started with {key}={before.get(key)}, not {now.get(key)}; "
                "resume it with its own settings, or start another in a new folder"
            )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE_ON_RESUME)


def flat_settings(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted key.

    Args:
        value: A mapping, such as `plain_value` makes of a configuration.
        prefix: What stands before each key.

    Returns:
        Dotted key to value.
    """
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= flat_settings(item, f"{prefix}.{name}" if prefix else str(name))
    return flat
