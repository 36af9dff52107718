"""Estimates put together: which model, whether it fits, what may be set otherwise."""

from pathlib import Path

import pytest

from editgrpo.config import GroupPass, ModelConfig, TrainConfig
from editgrpo.errors import ConfigError, ModelError
from editgrpo.recipes import load_recipe
from editgrpo.recipes.published_files import Reader, published_files
from editgrpo.training.estimate.changes import helpful_changes
from editgrpo.training.estimate.estimate import Estimate, Fit, Setup, estimate
from editgrpo.training.estimate.gpus import GPUS, Gpu
from editgrpo.training.estimate.known_model import find_model
from editgrpo.training.estimate.memory import GIB
from editgrpo.training.estimate.phases import Stage
from editgrpo.training.estimate.published import PUBLISHED
from editgrpo.training.estimate.read_shape import shape_of
from editgrpo.training.estimate.spread import Launch, Spread, launch_named
from tests.training.estimate.builders import THREE, recipe
from tests.training.estimate.models import small_config


def of(*changes: str, gpu: str = "h100-80gb", **spread: object) -> Estimate:
    setup = Setup(gpu=GPUS[gpu], spread=Spread(**spread))  # type: ignore[arg-type]
    return estimate(recipe(*changes), setup)


def test_matrices_of_four_bits_take_what_nf4_takes() -> None:
    """36 layers of 2048 x (2 x 2048 + 2 x 256 + 3 x 11008) entries: 4 bits, a byte for each 64 and
    four for each 64 x 256, in place of bfloat16."""
    entries = 36 * 2048 * (2 * 2048 + 2 * 256 + 3 * 11008)
    plain, quantised = (
        sum(part.update for part in of(*words).parts)
        for words in (["model.lora.rank=16"], ["model.lora.quantization=nf4"])
    )
    assert plain - quantised == pytest.approx(entries * (2 - 0.5 - 1 / 64 - 1 / 4096))


# --- which model ---------------------------------------------------------------------------------


def test_a_folder_says_what_its_model_is(tmp_path: Path) -> None:
    config = small_config("qwen3_vl")
    config.save_pretrained(tmp_path)
    found = find_model(ModelConfig(path=str(tmp_path)))
    assert (found.name, found.shape) == (str(tmp_path), shape_of(config))


def test_a_model_to_come_is_what_its_fine_tuning_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_model(ModelConfig(path="runs/sft-mimic-cxr/model-for-rl"))
    assert found.name == THREE
    run = tmp_path / "mine"
    run.mkdir()
    # Of any kind of run.
    (run / "config.yaml").write_text("edit: {}\nmodel: {path: Qwen/Qwen3-VL-4B-Instruct}\n")
    found = find_model(ModelConfig(path=str(run / "model-for-rl")))
    assert found.shape == PUBLISHED["Qwen/Qwen3-VL-4B-Instruct"]


def test_an_unknown_model_is_refused_in_a_line() -> None:
    with pytest.raises(ModelError, match=r"'some/model' is no folder .*--set model\.path=Qwen/"):
        find_model(ModelConfig(path="some/model"))


def test_the_pass_follows_family_and_setting() -> None:
    def is_packed(path: str, how: GroupPass) -> bool:
        return find_model(ModelConfig(path=path, group_pass=how)).shape.is_packed

    assert is_packed(THREE, GroupPass.AUTO) and not is_packed(THREE, GroupPass.PLAIN)
    assert is_packed("google/medgemma-4b-it", GroupPass.AUTO)


@pytest.mark.parametrize(
    "name", [one.name for one in published_files() if one.reader is Reader.TRAIN]
)
def test_every_published_recipe_can_be_estimated(name: str) -> None:
    found = estimate(load_recipe(Path(name), TrainConfig), Setup(gpu=GPUS["h100-80gb"]))
    assert found.fit is not Fit.TOO_LARGE
    assert found.model.name == THREE


# --- launches ------------------------------------------------------------------------------------


def test_what_is_not_accounted_for_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="zero3 is not part of the estimate"):
        of(gpus=8, launch=Launch.ZERO3)
    with pytest.raises(ConfigError, match=r"model\.lora needs whole copies"):
        of("model.lora.rank=16", gpus=8, launch=Launch.FSDP2)
    with pytest.raises(ConfigError, match=r"optim\.state=8bit needs whole copies"):
        of("optim.state=8bit", gpus=8, launch=Launch.FSDP2)
    with pytest.raises(ConfigError, match="not part of the estimate with shards"):
        of("rollout.engine=vllm_server", gpus=8, launch=Launch.FSDP2)
    with pytest.raises(ConfigError, match=r"set model\.gradient_checkpointing=true"):
        of("model.group_pass=plain", "model.gradient_checkpointing=false")
    with pytest.raises(ConfigError, match=r"set rollout\.engine=native"):
        of("model.group_pass=plain", "rollout.engine=vllm_server")
    with pytest.raises(ConfigError, match=r"set model\.freeze_vision_tower=true"):
        of("model.group_pass=plain", "model.freeze_vision_tower=false", gpus=2)
    parts = ("rollout.engine=vllm_colocate", "rollout.vllm.tensor_parallel_size=3")
    with pytest.raises(ConfigError, match=r"must divide the number of GPUs \(4\)"):
        of(*parts, gpus=4)
    with pytest.raises(ConfigError, match="did you mean 'fsdp2'"):
        launch_named("fsdp")


# --- whether it fits, and what it takes ----------------------------------------------------------


def test_whether_a_run_fits() -> None:
    # 67.8 GiB of 74.5, of 131.3 and of 37.3.
    assert of().fit is Fit.TIGHT
    assert of(gpu="h200-141gb").fit is Fit.FITS
    assert of(gpu="a100-40gb").fit is Fit.TOO_LARGE
    assert estimate(recipe(), Setup()).fit is None


def test_seconds_are_a_range_and_add_up() -> None:
    found = of()
    low, high = found.seconds() or (0, 0)
    stages = [found.seconds(stage) or (0, 0) for stage in Stage]
    assert low == pytest.approx(sum(one[0] for one in stages))
    assert high == pytest.approx(sum(one[1] for one in stages))
    assert 0 < low < high
    # Half as many prompts on each of two GPUs, but as many steps of decoding.
    halved = of(gpus=2).seconds() or (0, 0)
    assert low / 2 < halved[0] < low


def test_seconds_are_told_where_they_can_be() -> None:
    assert of("model.dtype=float32").seconds() is None
    unknown = Setup(gpu=Gpu(name="T4", memory=16e9))
    assert estimate(recipe(), unknown).seconds() is None
    served = of("rollout.engine=vllm_server", "model.freeze_vision_tower=false")
    assert served.seconds(Stage.ROLLOUT) is None
    assert served.seconds(Stage.UPDATE) is not None


def test_what_helps_lowers_the_peak() -> None:
    found = of(gpu="a100-40gb")
    changes = helpful_changes(found)
    assert changes and all(change.peak_bytes < found.peak_bytes for change in changes)
    words = [change.words for change in changes]
    assert words[-1] == "--set model.lora.rank=16"
    assert "--launch fsdp2 --gpus 8" in words
    # No single setting makes it fit, so they are tried together, with the smaller state.
    assert "--set tokens_per_pass=4096 --set clinical.device=cpu --set optim.state=8bit" in words
    assert [change.fit for change in changes if "fsdp2" in change.words] == [Fit.FITS]


def test_what_helps_is_what_the_command_line_takes() -> None:
    found = of(gpu="a100-40gb")
    for change in helpful_changes(found):
        if not change.words.startswith("--set "):
            continue
        settings = change.words.removeprefix("--set ").split(" --set ")
        assert of(*settings, gpu="a100-40gb").peak_bytes == change.peak_bytes


def test_what_is_set_already_is_not_proposed() -> None:
    changes = helpful_changes(of("model.lora.rank=16", "clinical.device=cpu", gpu="l4"))
    assert not any("lora" in one.words or "clinical" in one.words for one in changes)
    assert not any("fsdp2" in one.words or "optim" in one.words for one in changes)


def test_json_holds_bytes_seconds_and_what_was_assumed() -> None:
    found = of().as_dict()
    assert found["measured"] is False
    parts = found["memory_bytes"]["update"].values()
    assert found["peak_bytes"] == pytest.approx(sum(parts), abs=len(parts))  # each is rounded
    assert found["peak_bytes"] / GIB == pytest.approx(67.8, abs=0.1)
    assert list(found["seconds"]) == ["rollout", "reference", "update", "step"]
    assert found["assumed"]["images_per_study"] == 4.2
