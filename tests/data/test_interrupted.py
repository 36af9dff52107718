"""A preparation that was killed, or ran out of space, ends with the bytes of one that was not."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from editgrpo.data.prepared.store import StudySet
from editgrpo.errors import DataError, StorageError
from tests.builders import REPOSITORY, bytes_of, is_running, wait_until
from tests.data.preparation import candidates, each_time, prepare, write_originals


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_originals(tmp_path_factory.mktemp("originals") / "root")


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a preparation that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    prepare(root, folder)
    assert len(list((folder / "images").glob("shard-*"))) == 3  # 12 images, four a shard
    return bytes_of(folder)


def command(root: Path, output: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "tests.data.preparation", str(root), str(output), *options]


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_a_preparation_killed_at_any_step_continues_to_the_same_bytes(
    root: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(command(root, tmp_path, "--kill-at-every-step"))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    killed = sorted(tmp_path.iterdir())
    # Before and after: each of the 3 shards, the index and 2 tables is synced, and these six, the
    # mark, the list of rejections, the card and the account are renamed.
    assert len(killed) == 2 * 6 + 2 * 10
    assert [folder.name for folder in killed if bytes_of(folder) != whole] == []


def workers_of(parent: int) -> list[int]:
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc")
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_preparation_of_two_processes_killed_at_any_moment_continues_to_the_same_bytes(
    root: Path, whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    output = tmp_path / "set"
    moments = random.Random(seed)
    for attempt in range(3):
        process = start(command(root, output, "--workers", "2", *["--resume"] * (attempt > 0)))
        time.sleep(moments.uniform(0.3, 1.5))
        workers = workers_of(process.pid)
        process.kill()
        process.communicate()
        # The processes that it started end with it.
        assert wait_until(lambda ids=workers: not any(map(is_running, ids)), timeout_s=10)
    prepare(root, output, resume=True, workers=2)
    assert bytes_of(output) == whole


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_continues_to_the_same_bytes(
    root: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "set"
    process = start(command(root, output, "--workers", "2"), start_new_session=True)
    assert wait_until(lambda: (output / "unfinished.json").exists())
    workers = workers_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    process.communicate(timeout=30)
    assert wait_until(lambda: not any(map(is_running, workers)), timeout_s=5)
    prepare(root, output, resume=True)
    assert bytes_of(output) == whole


def test_until_its_end_a_preparation_does_not_load(root: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "set", []

    def look(_: int) -> None:
        if (output / "unfinished.json").exists():
            with pytest.raises(
                DataError, match="was not finished; run the same command with --resume"
            ):
                StudySet.load(output)
            seen.append(sorted(path.name for path in output.iterdir() if path.name[0] != "."))

    # Before the account gets its name, nothing may take the folder for whole.
    with each_time("replace", look, lambda _: None):
        prepare(root, output)
    assert seen[-1] == ["README.md", "images", "rejected.jsonl", "studies", "unfinished.json"]
    assert "unfinished.json" not in {path.name for path in output.iterdir()}
    assert len(StudySet.load(output)) == 5


def test_while_it_is_prepared_again_a_set_does_not_load(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    prepare(root, output)

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with each_time("replace", stop, lambda _: None), pytest.raises(KeyboardInterrupt):
        prepare(root, output, resume=True)
    with pytest.raises(DataError, match="was not finished"):
        StudySet.load(output)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_disk_says_so_in_one_line_and_can_be_continued(
    root: Path, whole: dict[str, bytes], tmp_path: Path, name: str, code: int
) -> None:
    steps = {"fsync": 6, "replace": 10}[name]
    for step in range(steps):
        output = tmp_path / str(step)

        def fail(number: int, step: int = step) -> None:
            if number == step:
                raise OSError(code, os.strerror(code))

        with (
            each_time(name, fail, lambda _: None),
            pytest.raises((DataError, StorageError)) as caught,
        ):
            prepare(root, output)
        message = str(caught.value)
        assert message.startswith(str(output))
        assert "\n" not in message
        assert "is full" in message or os.strerror(code) in message
        assert "; " in message  # what to do
        assert not list(tmp_path.rglob("*.partial*"))
        prepare(root, output, resume=True)
        assert bytes_of(output) == whole


def test_what_is_brought_to_the_disk_is_whole(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda number: sizes.append(os.fstat(number).st_size))
    prepare(root, tmp_path / "set")
    assert sorted(sizes) == sorted(
        path.stat().st_size for path in (tmp_path / "set").rglob("*.arrow")
    )


def test_a_full_disk_says_how_far_it_came_and_how_much_is_needed(
    root: Path, tmp_path: Path
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise OSError(errno.ENOSPC, "")

    with each_time("fsync", fail, lambda _: None), pytest.raises(DataError) as caught:
        prepare(root, tmp_path / "set")
    assert str(caught.value).endswith(
        "set/images: the disk is full after 4 of 12 images; free about 0.1 GiB and run the same "
        "command with --resume"
    )


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_named(
    root: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(
        command(root, tmp_path / "set"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)),
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "set/images: cannot be written (File too large); " in errors
    assert errors.count("\n") == 1
    prepare(root, tmp_path / "set", resume=True)
    assert bytes_of(tmp_path / "set") == whole


_ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=32k tmpfs "$1"
shift
code=0
"$@" "$0/set" || code=$?
mount -o remount,size=8m "$0"
"$@" "$0/set" --resume
cp -R "$0/set" "$0.copy"
exit $code
"""


@pytest.mark.slow
def test_a_disk_that_is_full_can_be_made_larger(
    root: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = [shutil.which("unshare") or "", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=64k tmpfs {disk}"
    try:
        subprocess.run([*unshare, "sh", "-c", mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not mount a file system of its own")
    arguments = command(root, disk)[:-1]
    process = start([*unshare, "sh", "-c", _ON_A_SMALL_DISK, str(disk), str(disk), *arguments])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    full, of_the_resumed = errors.splitlines()
    assert "set/images: the disk is full after " in full
    assert " of 12 images; free about " in full
    assert of_the_resumed.startswith("no study of split validation is kept")
    assert bytes_of(tmp_path / "disk.copy") == whole


def test_candidates_are_the_same_each_time(root: Path) -> None:
    assert candidates(root).studies == candidates(root).studies
