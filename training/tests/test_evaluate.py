"""Slices, the temperature of draws, and what a cached run is given later without training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training import calibration, card
from training.data import Case
from training.serving import Decoded
from training.slices import slices
from training.train import Run

FIXTURE = json.loads((Path(__file__).parent / "slices.json").read_text())


def cases() -> list[Case]:
    return [
        Case(user, np.array(one["history"]), one["target"], np.array(one["seen"]))
        for user, one in enumerate(FIXTURE["cases"])
    ]


def test_slices_are_those_of_the_fixture_that_the_benchmark_reads_too() -> None:
    found = slices(cases(), np.array(FIXTURE["training"]), repeats=True)
    assert {one.name: np.flatnonzero(one.members).tolist() for one in found} == FIXTURE["expected"]
    assert f"1 to {FIXTURE['middle']} training events" in found[1].definition


def test_slices_without_a_case_and_repeats_in_a_ranking_without_them_are_left_out() -> None:
    names = {one.name for one in slices(cases()[1:2], np.array(FIXTURE["training"]), repeats=False)}
    assert names == {"tail", "short"}


def draws(temperature: float, count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=2, size=(count, 5))
    weights = np.exp(scores / temperature)
    weights /= weights.sum(1, keepdims=True)
    return scores, (weights.cumsum(1) < rng.random((count, 1))).sum(1).clip(max=4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_outcomes_is_found(temperature: float) -> None:
    assert calibration.fit_temperature(*draws(temperature)) == pytest.approx(temperature, rel=0.08)


def test_likelihood_ignores_candidates_that_are_not_there() -> None:
    known = calibration.negative_log_likelihood(np.array([[0.0, np.log(3.0), -np.inf]]), np.array([1]), 1.0)
    assert known[0] == pytest.approx(np.log(4 / 3))


def decoded(temperature: float) -> tuple[list[Decoded], list[Case]]:
    scores, target = draws(temperature, 800)
    found = [Decoded(np.arange(5), row, row) for row in scores]
    return found, [Case(user, np.array([0]), int(row), np.array([0])) for user, row in enumerate(target)]


def test_a_temperature_is_chosen_only_where_validation_is_clearly_better_for_it() -> None:
    sure = calibration.choose_temperature(*decoded(2.5), alpha=0.3)
    assert sure["temperature"] == pytest.approx(2.5, rel=0.2)
    assert sure["nllGain"][1] > 0
    fair = calibration.choose_temperature(*decoded(1.0), alpha=0.3)
    assert fair["temperature"] == 1.0
    few, questions = decoded(2.5)
    assert calibration.choose_temperature(few[:1], questions[:1], 0.3)["temperature"] == 1.0


def test_training_counts_are_left_for_the_benchmark(tiny_run: Run) -> None:
    events = json.loads((tiny_run.folder / "items-train.json").read_text())["events"]
    assert len(events) == len(tiny_run.data.item_ids)
    assert sum(events) == sum(map(len, tiny_run.split.train))


def test_a_cached_run_is_given_what_it_lacks_without_ranking_again(tiny_run: Run) -> None:
    marker, ranks = tiny_run.path("evaluate", "json"), tiny_run.folder / "ranks-generator-int8.json"
    complete, when = json.loads(marker.read_text()), ranks.stat().st_mtime_ns
    marker.write_text(
        json.dumps({name: complete[name] for name in ("alpha", "byAlpha", "overlapExactTop10", "scored")})
    )
    (tiny_run.folder / "items-train.json").unlink()
    tiny_run.go("evaluate")
    assert json.loads(marker.read_text()) == complete
    assert (tiny_run.folder / "items-train.json").exists()
    assert ranks.stat().st_mtime_ns == when


def test_the_manifest_carries_the_chosen_temperature(tiny_run: Run) -> None:
    chosen = json.loads(tiny_run.path("evaluate", "json").read_text())["temperature"]
    manifest = json.loads((tiny_run.folder / "artefact-int8" / "manifest.json").read_text())
    assert manifest["scoring"]["temperature"] == chosen


def test_the_card_has_intervals_slices_minutes_and_how_to_rebuild(tiny_run: Run) -> None:
    text = (tiny_run.folder / "artefact-int8" / "MODEL_CARD.md").read_text()
    served = next(line for line in text.splitlines() if line.startswith("| generator-int8 |") and "[" in line)
    assert served.count("[") == 2
    assert "| head: the target has more than" in text
    assert "minutes (trunk and decoder)" in text
    assert "npm run train -- --config tiny --stage export" in text


def test_the_card_names_the_cases_for_which_the_model_is_no_good() -> None:
    def part(name: str, recall: float, gap: list[float]) -> dict:
        other = {"model": "item-knn", "recall10": 0.2, "ndcg10": 0.1, "servedMinusThis_ndcg10": gap}
        rows = [{"model": "generator-int8", "recall10": recall, "ndcg10": recall / 2}, other]
        return {"slice": name, "definition": f"it is {name}", "users": 2, "cases": 1200, "rows": rows}

    parts = [
        part("good", 0.3, [0.1, 0.05, 0.2]),
        part("absent", 0.0, [0.0, 0.0, 0.0]),
        part("bad", 0.1, [-0.1, -0.2, -0.05]),
    ]
    assert card.weak_lines(parts) == [
        "- Finds none of the 1,200 cases in which it is absent.",
        "- Worse than item-knn where it is bad: -0.1000 [-0.2000, -0.0500] NDCG@10.",
    ]
