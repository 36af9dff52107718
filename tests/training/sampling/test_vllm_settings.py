"""What TRL is told of vLLM, and what is checked before anything is loaded."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl import GRPOConfig

from editgrpo.config import RolloutConfig, RolloutEngine, VLLMConfig
from editgrpo.errors import ConfigError, MissingExtraError
from editgrpo.training.sampling import vllm_settings
from editgrpo.training.sampling.vllm_settings import check_engine, check_server, vllm_arguments
from tests.training.sampling.played_vllm import INFO, PlayedServer, play_vllm

# Checks before anything is loaded --------------------------------------------------------------


def test_a_server_as_documented_passes(server: PlayedServer) -> None:
    check_server(VLLMConfig(server_url=server.url, server_timeout_s=0))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "start it with VLLM_SERVER_DEV_MODE=1"),
        (INFO | {"model_config": {"logprobs_mode": "raw_logprobs"}}, "--logprobs-mode processed"),
        (INFO | {"weight_transfer_config": None}, "--weight-transfer-config"),
        (INFO | {"cache_config": {"enable_prefix_caching": False}}, "--enable-prefix-caching"),
    ],
)
def test_a_server_with_other_settings_is_refused(
    server: PlayedServer, info: Any, message: str
) -> None:
    server.info = info
    with pytest.raises(ConfigError, match=message) as caught:
        check_server(VLLMConfig(server_url=server.url, server_timeout_s=0))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    play_vllm(monkeypatch)
    with pytest.raises(ConfigError, match="no vLLM server answers at http") as caught:
        check_server(VLLMConfig(server_url="http://127.0.0.1:9", server_timeout_s=0))
    assert "\n" not in str(caught.value)


def test_the_policy_itself_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_settings, "is_vllm_available", lambda: False)
    check_engine(RolloutConfig())


@pytest.mark.parametrize("engine", [RolloutEngine.VLLM_COLOCATE, RolloutEngine.VLLM_SERVER])
def test_what_is_missing_is_named(engine: RolloutEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = RolloutConfig(engine=engine)
    monkeypatch.setattr(vllm_settings, "is_vllm_available", lambda: False)
    with pytest.raises(MissingExtraError, match=rf"{engine.value}.*not installed; .*\[vllm\]"):
        check_engine(rollout)
    monkeypatch.setattr(vllm_settings, "is_vllm_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"{engine.value}.*no CUDA device"):
        check_engine(rollout)


def test_a_copy_of_the_model_is_split_over_whole_shares_of_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_settings, "is_vllm_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vllm_settings, "PartialState", lambda: SimpleNamespace(num_processes=6))
    split = [
        RolloutConfig(
            engine=RolloutEngine.VLLM_COLOCATE, vllm=VLLMConfig(tensor_parallel_size=parts)
        )
        for parts in (3, 4)
    ]
    check_engine(split[0])
    with pytest.raises(ConfigError, match=r"is 4; it must divide the number of processes \(6\)"):
        check_engine(split[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"importance_cap": 0.9},
        {"gpu_memory_utilization": 1.0},
        {"tensor_parallel_size": 0},
        {"max_model_length": 0},
        {"server_url": "localhost:8000"},
        {"server_timeout_s": -1.0},
        {"group_port": 0},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=rf"rollout\.vllm\.{name} is"):
        VLLMConfig(**changes)


# What TRL is told, and what is relied upon ------------------------------------------------------


def arguments(tmp_path: Path, rollout: RolloutConfig) -> GRPOConfig:
    return GRPOConfig(output_dir=str(tmp_path), bf16=False, **vllm_arguments(rollout))


def test_the_policy_itself_sets_nothing_of_vllm() -> None:
    assert vllm_arguments(RolloutConfig()) == {"use_vllm": False}


def test_colocate_is_told_to_trl(tmp_path: Path) -> None:
    settings = VLLMConfig(
        importance_cap=2.5, gpu_memory_utilization=0.4, tensor_parallel_size=2, max_model_length=900
    )
    told = arguments(tmp_path, RolloutConfig(engine=RolloutEngine.VLLM_COLOCATE, vllm=settings))
    assert (told.use_vllm, told.vllm_mode, told.vllm_enable_sleep_mode) == (True, "colocate", True)
    assert (told.vllm_gpu_memory_utilization, told.vllm_tensor_parallel_size) == (0.4, 2)
    assert told.vllm_max_model_length == 900
    assert told.vllm_importance_sampling_mode == "token_truncate"
    assert told.vllm_importance_sampling_clip_max == 2.5
    assert told.vllm_importance_sampling_clip_min is None


def test_a_server_is_told_to_trl(tmp_path: Path) -> None:
    settings = VLLMConfig(server_url="http://node2:8123", server_timeout_s=7, group_port=4000)
    told = arguments(tmp_path, RolloutConfig(engine=RolloutEngine.VLLM_SERVER, vllm=settings))
    assert (told.use_vllm, told.vllm_mode) == (True, "server")
    assert told.vllm_server_base_url == "http://node2:8123"
    assert (told.vllm_server_timeout, told.vllm_group_port) == (7, 4000)
    assert told.vllm_importance_sampling_correction
