"""The fixtures of the tests of training, studies for Qwen3-VL, and some that have no images."""

from dataclasses import replace

import pytest

from editgrpo.data.prepared.store import StudySet
from editgrpo.training.step.batches import StepSampler
from tests.builders import write_set
from tests.training.conftest import of_family, tiny, tiny_gemma3, tiny_qwen3
from tests.training.tiny_run import STUDIES, Tiny, write_short_studies

__all__ = ["mixed", "of_family", "tiny", "tiny_32", "tiny_gemma3", "tiny_qwen3"]


@pytest.fixture(scope="session")
def tiny_32(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same reports, their images cut for tokens of 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("tokens-of-32") / "studies"
    write_short_studies(folder, STUDIES, token_px=32)
    return replace(tiny, studies=folder)


@pytest.fixture(scope="session")
def mixed(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The same studies, but from the second half of the second step on none has an image.

    That is meant for three steps of eight studies on two processes: in the first step only some
    studies have images, in the second only some of the first process, in the third none.
    """
    studies = StudySet.load(tiny.studies)
    train, _ = tiny.encoder()
    order = list(StepSampler(len(train), steps=3, prompts_per_step=8, seed=0))
    bare = {train[index].study_id for index in order[12:]}
    films = {image_id: studies.images.load(image_id) for image_id in studies.images}
    folder = tmp_path_factory.mktemp("mixed") / "studies"
    write_set(
        folder,
        [replace(s, images=() if s.study_id in bare else s.images) for s in studies],
        films,
    )
    return replace(tiny, studies=folder)
