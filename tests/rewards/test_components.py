"""Every metric by its name, on small random models; and what may not be trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from editgrpo.clinical.shared import shared, shared_model
from editgrpo.clinical.weights import ClinicalModel, model_identity
from editgrpo.config import ClinicalConfig, DType, RewardConfig, Target
from editgrpo.errors import ConfigError, ModelError
from editgrpo.metrics.class_rates import ClassRates, class_rates, write_class_rates
from editgrpo.reports import load_annotator, load_labeler
from editgrpo.reports.chexpert import FINDINGS
from editgrpo.rewards import COMPONENT_NAMES, configured_reward, load_component, load_reward
from tests.checkpoints.bert_score import build_distilbert, build_distilroberta
from tests.checkpoints.chexbert import build_chexbert
from tests.checkpoints.green import build_green
from tests.checkpoints.radgraph import build_radgraph
from tests.checkpoints.rate import build_biolord, build_rate_ner

REPORTS = ["Small left pleural effusion. The heart is normal.", "No acute disease.", ""]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_rate_ner(folder / "rate-ner")
    build_biolord(folder / "biolord")
    build_chexbert(folder / "chexbert")
    for name in ("radgraph-xl", "radgraph"):
        build_radgraph(folder / name, model=name)
    build_distilroberta(folder / "distilroberta-base")
    build_distilbert(folder / "distilbert-base-uncased")
    build_green(folder / "green")
    return folder


LABELERS = ("chexbert", "rules")


@pytest.fixture(scope="module")
def config(models: Path) -> ClinicalConfig:
    return ClinicalConfig(models=str(models), offline=True, device="cpu")


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file that each labeler counted."""
    folder = tmp_path_factory.mktemp("rates")
    labels = np.eye(len(FINDINGS), dtype=np.uint8)
    for labeler in LABELERS:
        write_class_rates(folder / f"{labeler}.json", class_rates(labels, labeler=labeler))
    return {labeler: folder / f"{labeler}.json" for labeler in LABELERS}


# A random judge never ends its answer before the length limit, and says nothing that is paid.
SLOW = {"green@radllama2-7b": pytest.mark.slow}
JUDGED = ("green@radllama2-7b-guarded", "crimson@judge")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=SLOW.get(name, ()))
        for name in COMPONENT_NAMES
        if name not in JUDGED
    ],
)
def test_every_component_scores_under_its_own_name(
    name: str, config: ClinicalConfig, rates: dict[str, Path]
) -> None:
    class_rates = rates.get(name.partition("/")[0])
    component = load_component(name, config, class_rates=class_rates)
    assert component.name == name
    facts = component.read(REPORTS)
    scores = component.compare(facts, component.read(REPORTS[::-1]))
    assert scores.shape == (3,) and np.isfinite(scores).all()
    # A report against itself is at least as good as against another one; RadCliQ counts errors.
    own = component.compare(facts[:1], facts[:1])
    sign = -1 if name == "radcliq-v1" else 1
    if not name.startswith("green"):
        assert (sign * own >= sign * scores[:1] - 1e-6).all()


def test_an_unknown_metric_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'ratescore@0\.5\.0'"):
        load_component("ratescore@0.5")


def test_the_papers_reward_is_the_unweighted_sum(config: ClinicalConfig) -> None:
    scores = load_reward("paper", clinical=config).score(REPORTS, REPORTS[::-1])
    assert tuple(scores.components) == (
        "radgraph/partial@radgraph-xl",
        "chexbert/report-micro-f1-14",
        "ratescore@0.5.0-guarded",
    )
    assert scores.total.tolist() == pytest.approx(sum(scores.components.values()).tolist())  # type: ignore[union-attr]


def test_saying_nothing_earns_nothing_of_ratescore(config: ClinicalConfig) -> None:
    guarded = load_component("ratescore@0.5.0-guarded", config)
    published = load_component("ratescore@0.5.0", config)
    silent, said = guarded.read(["", REPORTS[0]])
    assert guarded.compare([silent], [said]).tolist() == [0.0]
    assert published.compare([silent], [said]).tolist() == [0.5]


# Nothing, no word, one word, a place, words without meaning, and what is beside the point.
SILENT = ["", " \n", "...", "?!", "the", "Lungs.", "the the the", "The weather is nice today."]
TRAINABLE = [
    name
    for name in COMPONENT_NAMES
    if not name.startswith(("bleu", "green"))
    and name not in ("radcliq-v1", "temporal-f1@keywords")
    and name not in JUDGED
    and not (name.startswith("ratescore") and not name.endswith("-guarded"))
]


@pytest.mark.slow
@pytest.mark.parametrize("labeler", LABELERS)
@pytest.mark.parametrize("reference", ["No acute disease.", REPORTS[0], "Lungs.", ""])
def test_saying_nothing_earns_nothing_from_any_component(
    config: ClinicalConfig, rates: dict[str, Path], reference: str, labeler: str
) -> None:
    rated = (
        "report-inverse-frequency-14"  # a reward has one file of rates, which one labeler counted
    )
    chosen = [name for name in TRAINABLE if not name.endswith(rated) or name.startswith(labeler)]
    reward = load_reward(
        "custom", dict.fromkeys(chosen, 1.0), clinical=config, class_rates=rates[labeler]
    )
    scores = reward.score(SILENT, [reference] * len(SILENT))
    for name, values in scores.components.items():
        assert (values <= 0).all(), name
    assert (scores.total <= 0).all()


@pytest.mark.parametrize("name", ["rules", "paper"])
def test_saying_nothing_earns_nothing(name: str, config: ClinicalConfig) -> None:
    reward = load_reward(name, clinical=config)
    scores = reward.score(SILENT, ["No acute disease."] * len(SILENT))
    assert scores.total.tolist() == [0.0] * len(SILENT)


def test_a_metric_counts_what_is_said_of_silence(config: ClinicalConfig) -> None:
    # CheXbert labels the empty report like any other; a metric compares what it says.
    component = load_component("chexbert/report-balanced-accuracy-14", config)
    silent = component.read([""])
    assert component.compare(silent, silent).tolist() == [1.0]


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("ratescore@0.5.0", "take ratescore@0.5.0-guarded"),
        ("green@radllama2-7b", "take green@radllama2-7b-guarded"),
        ("radcliq-v1", "lower is better"),
    ],
)
def test_what_is_no_reward_is_refused(component: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward("custom", {component: 1.0})


def test_inverse_frequency_needs_class_rates(
    config: ClinicalConfig, rates: dict[str, Path]
) -> None:
    name = "chexbert/report-inverse-frequency-14"
    with pytest.raises(ConfigError, match="write them with `editgrpo annotate --class-rates`"):
        load_reward("paper", {name: 1.0}, clinical=config)
    chosen = RewardConfig(name="paper", weights={name: 1.0}, class_rates=str(rates["chexbert"]))
    assert name in configured_reward(chosen, config).component_names


def test_class_rates_of_other_weights_are_refused(config: ClinicalConfig, tmp_path: Path) -> None:
    name, path = "chexbert/report-inverse-frequency-14", tmp_path / "rates.json"
    labels = np.eye(len(FINDINGS), dtype=np.uint8)
    own = model_identity(ClinicalModel.CHEXBERT, config)
    write_class_rates(path, class_rates(labels, labeler=f"chexbert@{own}"))
    assert load_component(name, config, class_rates=path).name == name
    write_class_rates(path, class_rates(labels, labeler="chexbert@0123"))
    with pytest.raises(ConfigError, match="counted with other weights of CheXbert"):
        load_component(name, config, class_rates=path)


def test_class_rates_of_other_sections_are_refused(tmp_path: Path) -> None:
    name, path = "rules/report-inverse-frequency-14", tmp_path / "rates.json"
    labels = np.eye(len(FINDINGS), dtype=np.uint8)
    counted = class_rates(labels, labeler="rules", target=Target.FINDINGS)
    write_class_rates(path, counted)
    chosen = RewardConfig(name="rules", weights={name: 1.0}, class_rates=str(path))
    configured_reward(chosen, ClinicalConfig(), Target.FINDINGS)
    with pytest.raises(ConfigError, match="class rates of findings, but impression is scored"):
        configured_reward(chosen, ClinicalConfig(), Target.IMPRESSION)
    # What reads no rates does not mind.
    plain = RewardConfig(name="rules", class_rates=str(path))
    configured_reward(plain, ClinicalConfig(), Target.IMPRESSION)


def test_missing_weights_end_a_run_before_its_first_step(tmp_path: Path) -> None:
    nowhere = ClinicalConfig(models=str(tmp_path / "none"), offline=True)
    with pytest.raises(ModelError, match="editgrpo models fetch") as caught:
        configured_reward(RewardConfig(name="paper"), nowhere)
    assert "\n" not in str(caught.value)


def test_equal_requests_share_one_annotator_and_labeler(config: ClinicalConfig) -> None:
    equal = ClinicalConfig(models=config.models, offline=True, device="cpu")
    assert load_annotator("rate", config) is load_annotator("rate", equal)
    assert load_labeler("chexbert", config) is load_labeler("chexbert", equal)
    other = ClinicalConfig(models=config.models, offline=True, device="cpu", batch_tokens=64)
    assert load_annotator("rate", config) is not load_annotator("rate", other)


def test_configurations_that_differ_in_their_store_share_one_model(tmp_path: Path) -> None:
    def load(folder: Path) -> object:
        return object()

    build_rate_ner(tmp_path / "rate-ner")
    build_biolord(tmp_path / "biolord")
    config = ClinicalConfig(models=str(tmp_path), offline=True, device="cpu")
    model = ClinicalModel.RATE_NER
    one = shared_model(model, config, load)
    with_journal = replace(config, journal=str(tmp_path), batch_tokens=64)
    assert shared_model(model, with_journal, load) is one
    assert shared_model(ClinicalModel.BIOLORD, config, load) is not one
    assert shared_model(model, replace(config, dtype=DType.BFLOAT16), load) is not one


def test_what_fails_to_build_is_built_again() -> None:
    attempts: list[int] = []

    def build() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelError("not yet")
        return 7

    with pytest.raises(ModelError):
        shared(("test", "builds again"), build)
    assert shared(("test", "builds again"), build) == 7
    assert shared(("test", "builds again"), build) == 7
    assert len(attempts) == 2


def test_rewards_by_findings_work_offline_on_the_labels_of_rules(tmp_path: Path) -> None:
    reference, candidate = "Left pleural effusion. Rib fracture.", "Left pleural effusion."
    # One of two findings said and nothing else: sensitivity 1/2, specificity 1.
    balanced = load_component("rules/report-balanced-accuracy-14")
    facts = balanced.read([candidate, reference])
    assert balanced.compare(facts[:1], facts[1:]).tolist() == pytest.approx([0.75])
    # Rates 1/2 and 1/8: weights 2 and 8 before scaling; hit 2, missed 8: F1 = 2*2 / (2*2 + 8).
    rates = dict.fromkeys(FINDINGS, 0.5) | {"Fracture": 0.125}
    path = tmp_path / "rates.json"
    write_class_rates(path, ClassRates(labeler="rules", n=8, rates=rates))
    weighted = load_component("rules/report-inverse-frequency-14", class_rates=path)
    facts = weighted.read([candidate, reference])
    assert weighted.compare(facts[:1], facts[1:]).tolist() == pytest.approx([1 / 3])
