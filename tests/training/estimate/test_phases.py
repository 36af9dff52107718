"""What a step computes and moves, and the seconds that follow: values derived by hand."""

from dataclasses import replace

import pytest

from editgrpo.config import GroupPass
from editgrpo.errors import ConfigError
from editgrpo.training.estimate.flops import FORWARD, vision_flops
from editgrpo.training.estimate.gpus import GPUS, Gpu, gpu_of_cuda_name, named_gpu
from editgrpo.training.estimate.phases import Stage, decoding, step_phases
from editgrpo.training.estimate.published import PUBLISHED, QWEN2_5_VL_3B
from editgrpo.training.estimate.speed import FAST, Phase, Speed
from editgrpo.training.estimate.workload import Studies, Workload, workload_of
from tests.training.estimate.builders import recipe, work_of

MATRICES, EMBEDDING = 36 * 77_070_336, 311_164_928  # of Qwen2.5-VL-3B


def phases(stage: Stage, *changes: str) -> dict[str, Phase]:
    config = recipe(*changes)
    is_packed = config.model.group_pass is not GroupPass.PLAIN
    shape = replace(PUBLISHED[config.model.path], is_packed=is_packed)
    work = workload_of(config, shape, Studies(), 1)
    return {phase.name: phase for phase in step_phases(config, shape, work)[stage]}


def test_one_gpus_part_of_a_step() -> None:
    work = work_of(recipe(), gpus=4)
    # 32 prompts over 4 GPUs; 4.2 images of 512 tokens, and 150 more.
    assert (work.prompts, work.prompt, work.patches) == (8, 2300, 2048)
    assert (work.group, work.sampled) == (10, 5)
    assert (work.answer, work.longest, work.most) == (125, 150, 256)
    assert work.group_tokens == 2299 + 10 * 125
    with pytest.raises(ConfigError, match="it must be a multiple of the number of GPUs"):
        work_of(recipe(), gpus=5)
    with pytest.raises(ConfigError, match="it must be a multiple of the number of GPUs"):
        work_of(recipe(), gpus=64)


def test_a_part_follows_the_settings() -> None:
    assert work_of(recipe("data.max_images=2")).prompt == 2 * 512 + 150
    # The references are rows of their groups where their likelihood counts.
    assert work_of(recipe("objective.likelihood=0.5")).group == 11
    short = work_of(recipe("rollout.max_completion_tokens=100"))
    assert (short.answer, short.longest) == (100, 100)
    assert work_of(recipe("model.group_attention=dense")).is_dense
    # 6 rows of 2,425 tokens are at most 16,384, so a group of 10 has two chunks.
    plain = replace(work_of(recipe()), is_packed=False)
    assert (plain.chunk, plain.passes, plain.pass_tokens) == (6, 64, 6 * 2425)


def test_the_reference_computes_each_group_once() -> None:
    (layers,) = phases(Stage.REFERENCE).values()
    # 32 groups: 2,299 + 1,250 tokens, 2,299^2 / 2 + 1,250 x (2,299 + 125) pairs in 36 layers of
    # 2,048, 1,250 scored tokens. Weights are read in 2 bytes by each of 8 passes.
    group = 2 * MATRICES * 3549 + 4 * 36 * 2048 * (2299**2 / 2 + 1250 * 2424) + 2 * EMBEDDING * 1250
    assert layers.flops == 32 * group
    assert layers.bytes == 8 * 2 * 3_085_938_688
    assert phases(Stage.REFERENCE, "objective.beta=0") == {}


def test_an_update_computes_layers_four_times() -> None:
    computed = phases(Stage.UPDATE)["layers and head"].flops
    forward = phases(Stage.REFERENCE)["layers and head"].flops
    pairs = 32 * 4 * 36 * 2048 * (2299**2 / 2 + 1250 * 2424)
    head = 32 * 2 * EMBEDDING * 1250
    last = 32 * 2 * 36 * 2048 * 11_008 * 3549
    # Once, twice for gradients, once again but for each layer's last product; attention 1 + 2.5 +
    # 1, the head 1 + 3.
    expected = 4 * (forward - pairs - head) - last + 4.5 * pairs + 4 * head
    assert computed == pytest.approx(expected)
    kept = phases(Stage.UPDATE, "model.gradient_checkpointing=false")["layers and head"].flops
    assert computed - kept == pytest.approx(forward - head - last)
    # Frozen weights need no gradients: one product less of layers, and one of the head.
    adapters = phases(Stage.UPDATE, "model.lora.rank=16")["layers and head"].flops
    assert computed - adapters == pytest.approx(forward - pairs)


def test_the_optimiser_moves_ten_numbers_a_parameter() -> None:
    # Weight, gradient and two moments read, three written; the gradient read for its norm, read and
    # written to be clipped: 10 x 4 bytes.
    trained = 3_085_938_688
    assert phases(Stage.UPDATE)["optimiser"].bytes == 40 * trained
    config, shape = recipe(), QWEN2_5_VL_3B
    sharded = step_phases(config, shape, work_of(config), shards=4)[Stage.UPDATE]
    assert sharded[-1].bytes == 10 * trained


def test_images_are_encoded_as_often_as_they_are_needed() -> None:
    image = vision_flops(QWEN2_5_VL_3B.vision, 2048)
    assert phases(Stage.ROLLOUT)["images"].flops == pytest.approx(32 * 4.2 * image)
    assert "images" not in phases(Stage.REFERENCE)
    trained = "model.freeze_vision_tower=false"
    assert phases(Stage.REFERENCE, trained)["images"].flops == pytest.approx(32 * 4.2 * image)
    assert phases(Stage.UPDATE, trained)["images"].flops > 3 * 32 * 4.2 * image
    # vLLM encodes for itself; with a server the features of the passes are all.
    colocated = phases(Stage.ROLLOUT, "rollout.engine=vllm_colocate")["images"]
    assert colocated.flops == pytest.approx(2 * 32 * 4.2 * image)
    assert set(phases(Stage.ROLLOUT, "rollout.engine=vllm_server")) == {"images"}
    # Plain rows have images of their own: 5 sampled, 10 scored, in the update 20 times.
    gemma = ("model.path=google/medgemma-4b-it", "model.group_pass=plain")
    image = vision_flops(PUBLISHED["google/medgemma-4b-it"].vision, 4096)
    found = [phases(stage, *gemma)["images"].flops / (32 * 4.2 * image) for stage in Stage]
    assert found == pytest.approx([5, 10, 20])


def test_decoding_reads_the_weights_for_every_token() -> None:
    work = Workload(
        prompts=2,
        group=6,
        sampled=3,
        images=0,
        patches=0,
        prompt=100,
        answer=10,
        longest=12,
        most=12,
        tokens_per_pass=1000,
    )
    one = decoding(QWEN2_5_VL_3B, work)
    weights = 12 * 2 * (MATRICES + EMBEDDING)
    # A token leaves 2 x 256 numbers of 2 bytes in each of 36 layers: of 2 prompts 100 are read in
    # each of 12 steps, of 6 rows on average 5 of their own.
    read = 2 * 2 * 256 * 36 * (2 * 12 * 100 + 6 * 12 * 5)
    assert one.bytes == weights + read + 7 * 8 * 151_936 * 6 * 12
    assert one.kernels == 12 * 36 * 46
    assert decoding(QWEN2_5_VL_3B, work, is_graphed=True).kernels == 12
    assert decoding(QWEN2_5_VL_3B, replace(work, parts=2)).kernels == 24 * 36 * 46
    assert one.flops == 6 * 12 * (2 * (MATRICES + EMBEDDING) + 4 * 2048 * 36 * 105)


def test_a_phase_takes_as_long_as_its_slowest_part() -> None:
    gpu = Gpu(name="g", memory=1, flops=100, bandwidth=10)
    speed = Speed(utilisation=0.5, bandwidth=0.5, kernel_s=2)
    assert Phase(name="p", flops=200, bytes=10, kernels=1).seconds(gpu, speed) == 4
    assert Phase(name="p", flops=200, bytes=30, kernels=1).seconds(gpu, speed) == 6
    assert Phase(name="p", flops=200, bytes=30, kernels=5).seconds(gpu, speed) == 10


def test_no_time_is_below_that_of_the_data_sheet() -> None:
    gpu = GPUS["h100-80gb"]
    for stage in Stage:
        for phase in phases(stage).values():
            assert phase.seconds(gpu, FAST) > max(phase.flops / 989e12, phase.bytes / 3.35e12)


def test_gpus_are_found_by_what_cuda_calls_them() -> None:
    assert gpu_of_cuda_name("NVIDIA H100 80GB HBM3") is GPUS["h100-80gb"]
    assert gpu_of_cuda_name("NVIDIA A100-SXM4-40GB") is GPUS["a100-40gb"]
    assert gpu_of_cuda_name("NVIDIA L4") is GPUS["l4"]
    assert gpu_of_cuda_name("NVIDIA L40S") is GPUS["l40s"]
    assert gpu_of_cuda_name("NVIDIA L40") is None
    assert gpu_of_cuda_name("Tesla T4") is None
    with pytest.raises(ConfigError, match="did you mean 'h100-80gb'"):
        named_gpu("h100")


def test_forward_is_what_vision_flops_counts_unless_told_otherwise() -> None:
    vision = QWEN2_5_VL_3B.vision
    # 28 layers with windows of 64 patches and 4 without, of 2,048 patches.
    pairs = 28 * 2048 * 64 + 4 * 2048**2
    layer = 1280 * (4 * 1280 + 3 * 3420)
    merger = 5120 * (5120 + 2048)
    expected = (
        2 * 32 * layer * 2048
        + 4 * 1280 * pairs
        + 2 * merger * 512
        + 2 * 3 * 2 * 14**2 * 1280 * 2048
    )
    assert vision_flops(vision, 2048, FORWARD) == vision_flops(vision, 2048) == expected
