"""A server of vLLM that is played."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from trl.generation import vllm_client

from tests.training.sampling.played_vllm import PlayedServer, play_vllm


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedServer]:
    play_vllm(monkeypatch)
    # Weights go over NCCL, from GPU to GPU; what is said about them over HTTP is played as it is.
    monkeypatch.setattr(vllm_client.VLLMClient, "init_communicator", lambda *_, **__: None)
    sender = SimpleNamespace(trainer_send_weights=lambda iterator, trainer_args: list(iterator))
    monkeypatch.setattr(vllm_client, "NCCLWeightTransferEngine", sender, raising=False)
    monkeypatch.setattr(vllm_client, "NCCLTrainerSendWeightsArgs", dict, raising=False)
    played = PlayedServer()
    thread = threading.Thread(target=played.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield played
    played.shutdown()
    played.server_close()
    thread.join()
