"""What the results of a table say: scores of its arms and differences of its pairs, with intervals
over seeds and patients. No number is formatted here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editgrpo.demo.plan import TestSet
from editgrpo.errors import DataError
from editgrpo.evaluation.compare import compare
from editgrpo.evaluation.evaluate import Evaluation
from editgrpo.evaluation.types import Comparison
from editgrpo.files import read_json_object
from experiments.configs import departure
from experiments.definitions import Arm, Stage, Table
from experiments.gate import Bands, FindingKind
from experiments.places import Places
from experiments.rows import SHOWN, evaluation_of, with_kinds

_REMEDY = "put back the committed file, or delete it and run the table again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A table at a stage.

    Attributes:
        table: Which table.
        stage: At which stage.
        arms: All arms.
        results: The result files of each arm by seed; an arm without any is not there.
        scores: For each test set the evaluation of each arm, over all of its seeds.
        pairs: For each pair and test set the comparison over the seeds that both arms have; a pair
            with an arm that has no results is not there.
        kinds: Kind to findings, by the gate of the stage; empty before the gate was measured.
        p_present: Finding to p(say | present) by the gate, and the number of samples.
    """

    table: Table
    stage: Stage
    arms: Mapping[str, Arm]
    results: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(repr=False)
    scores: Mapping[TestSet, Mapping[str, Evaluation]] = field(repr=False)
    pairs: Mapping[tuple[str, str], Mapping[TestSet, Comparison]] = field(repr=False)
    kinds: Mapping[str, tuple[str, ...]]
    p_present: Mapping[str, tuple[float, int]]

    def title(self, name: str) -> str:
        """Return what an arm, or the alias of one, is called."""
        arm = self.table.arm(name)
        title = self.arms[arm].title
        return title if arm == name else f"{name} ({title})"


def judge(table: Table, stage: Stage, arms: Mapping[str, Arm], places: Places) -> Judged:
    """Judge a table by the results that are there.

    Args:
        table: The table.
        stage: One of its stages.
        arms: All arms.
        places: Where results are.

    Returns:
        The scores and the differences.

    Raises:
        DataError: there is no result at all, one is damaged, or results do not belong together.
    """
    results = {name: load_results(stage.name, name, places) for name in table.arms}
    results = {name: found for name, found in results.items() if found}
    if not results:
        raise DataError(
            f"{places.results / stage.name}: no result of table {table.name}; run "
            f"`python -m experiments run {table.name} --stage {stage.name}`"
        )
    references = read_json_object(places.test_sets(stage.name), _REMEDY)
    gates = load_gates(stage.name, places)
    kinds, p_present = kinds_of(gates, stage.bands)
    judge_of = _Judge(stage, references, kinds)
    scores = {
        test_set: {
            name: judge_of.evaluation(name, list(found.values()), test_set)
            for name, found in results.items()
        }
        for test_set in TestSet
    }
    pairs = {}
    for pair in table.pairs:
        first, second = (results.get(table.arm(name), {}) for name in pair)
        seeds = sorted(set(first) & set(second))
        if seeds:
            pairs[pair] = {
                test_set: compare(
                    judge_of.evaluation(pair[0], [first[seed] for seed in seeds], test_set),
                    judge_of.evaluation(pair[1], [second[seed] for seed in seeds], test_set),
                )
                for test_set in TestSet
            }
    return Judged(
        table=table,
        stage=stage,
        arms=arms,
        results=results,
        scores=scores,
        pairs=pairs,
        kinds=kinds,
        p_present=p_present,
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    stage: Stage
    references: Mapping[str, Any]
    kinds: Mapping[str, Sequence[str]]

    def evaluation(
        self, name: str, results: Sequence[Mapping[str, Any]], test_set: TestSet
    ) -> Evaluation:
        """Evaluate some seeds of an arm on a test set."""
        evaluation = evaluation_of(
            [one["test_sets"][test_set.value] for one in results],
            self.references[test_set.value],
            system=name,
            rare_findings=self.stage.rare_findings,
        )
        return with_kinds(evaluation, self.kinds)


def load_results(stage: str, arm: str, places: Places) -> dict[int, dict[str, Any]]:
    """Read the results of an arm at a stage.

    Args:
        stage: Name of the stage.
        arm: Name of the arm.
        places: Where results are.

    Returns:
        Seed to result, in the order of the seeds.

    Raises:
        DataError: a file is damaged, or seeds were run with different settings.
    """
    folder = places.result(stage, arm, 0).parent
    found = {}
    for path in folder.glob("seed-*.json"):
        result = read_json_object(path, _REMEDY)
        found[int(path.stem.removeprefix("seed-"))] = result
    records = [result.get("made_with", {}) for result in found.values()]
    if any(other := departure(record, records[0]) for record in records):
        raise DataError(
            f"{folder}: seeds were run with different settings ({other}); delete those of the old "
            "ones and run the table again"
        )
    return dict(sorted(found.items()))


def load_gates(stage: str, places: Places) -> list[dict[str, Any]]:
    """Read what the gate found at a stage, one object a seed."""
    folder = places.gate(stage, 0).parent
    return [read_json_object(path, _REMEDY) for path in sorted(folder.glob("gate-seed-*.json"))]


def kinds_of(
    gates: Sequence[Mapping[str, Any]], bands: Bands
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[float, int]]]:
    """Tell the kinds of findings from the gates of several seeds together.

    Args:
        gates: What `run_gate` returned for each seed; may be none.
        bands: Where the kinds part.

    Returns:
        Kind to its findings, and finding to p(say | present) over the samples of all seeds with
        their number. A finding's AUC is the mean over the seeds.
    """
    kinds: dict[str, list[str]] = {kind.value: [] for kind in FindingKind} if gates else {}
    p_present = {}
    for finding in dict.fromkeys(name for gate in gates for name in gate["findings"]):
        rows = [gate["findings"][finding] for gate in gates if finding in gate["findings"]]
        samples = sum(row["present"]["samples"] for row in rows)
        p = sum(row["present"]["said"] for row in rows) / samples
        areas = [row["auc"] for row in rows]
        auc = float("nan") if None in areas else sum(areas) / len(areas)
        kinds[bands.kind(auc, p).value].append(finding)
        p_present[finding] = (p, samples)
    return {kind: tuple(found) for kind, found in kinds.items()}, p_present


def paired_record(judged: Judged) -> dict[str, Any]:
    """Return the differences of a table as one object for JSON.

    Args:
        judged: The table at a stage.

    Returns:
        `seeds`, the fewest that a pair has, and `paired`: pair, test set, metric.
    """
    seeds = [comparison[TestSet.IN_DOMAIN].seeds_a for comparison in judged.pairs.values()]
    return {
        "seeds": min(seeds, default=0),
        "paired": {
            f"{first}-minus-{second}": {
                test_set.value: _differences(comparison) for test_set, comparison in found.items()
            }
            for (first, second), found in judged.pairs.items()
        },
    }


def _differences(comparison: Comparison) -> dict[str, Any]:
    kept = [*SHOWN, *(name for name in comparison.metrics if _is_of_kind(name))]
    return {
        name: {
            "value": round(row.difference, 6),
            "low": None if row.low is None else round(row.low, 6),
            "high": None if row.high is None else round(row.high, 6),
        }
        for name, row in comparison.metrics.items()
        if name in kept
    }


def _is_of_kind(name: str) -> bool:
    return name.partition("/")[2] in {kind.value for kind in FindingKind}
