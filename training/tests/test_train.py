"""The command: a bad configuration is one line, a killed run ends where an uninterrupted one does, and it learns."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from training import config, optimiser
from training.train import Run, main

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "training.train", "--config", "tiny", "--stage", "trunk", "--cache"]


def test_the_smoke_run_beats_popularity_clearly(tiny_run: Run) -> None:
    rows = json.loads((tiny_run.folder / "metrics.json").read_text())["rows"]
    popularity = next(r for r in rows if r["model"] == "popularity" and "servedMinusThis_ndcg10" in r)
    assert popularity["servedMinusThis_ndcg10"][1] > 0.1


def test_hand_over_files_line_up(tiny_run: Run) -> None:
    cases = json.loads((tiny_run.folder / "cases-test.json").read_text())
    assert len(cases["users"]) == len(tiny_run.split.test)
    for name in ("popularity", "item-knn", "sasrec-ce", "exact-scan", "generator-fp32", "generator-alone"):
        ranks = json.loads((tiny_run.folder / f"ranks-{name}.json").read_text())
        assert len(ranks["masked"]) == len(ranks["unmasked"]) == len(cases["users"])


def test_the_model_card_says_what_was_split_and_measured(tiny_run: Run) -> None:
    card = (tiny_run.folder / "artefact-int8" / "MODEL_CARD.md").read_text()
    assert "by time: the last 7 days are the test" in card
    assert "| generator-int8 | masked |" in card


def test_a_second_run_skips_what_is_in_the_cache(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tiny_run.folder.parents[1]
    began = time.monotonic()
    Run(tiny_run.config, cache, None).go("decoder")
    assert "skipped: in the cache" in capsys.readouterr().out
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 1.5}, "trunk.dropout = 1.5, must be at least 0 and below 1"),
        ({"heads": 5}, "trunk.heads = 5, must be a divisor of trunk.dim = 32"),
        ({"learning_rate": 0.0}, "trunk.learning_rate = 0.0, must be above 0"),
        ({"vocabulary": 10}, "trunk.vocabulary = 10, must be from 256 to 32768"),
    ],
)
def test_a_bad_configuration_names_field_value_and_bound(change: dict, message: str) -> None:
    tiny = config.load("tiny")
    bad = dataclasses.replace(tiny, trunk=dataclasses.replace(tiny.trunk, **change))
    with pytest.raises(config.ConfigError, match=message.replace(".", r"\.")):
        config.check(bad)


def test_an_unknown_configuration_and_a_missing_stage_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", "nonsense"]) == 2
    assert main(["--config", "tiny", "--stage", "decoder", "--cache", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "training: config: name = 'nonsense', must be a file of training/configs without its suffix",
        "training: stage decoder: needs stage trunk of config tiny first",
    ]


def test_every_configuration_is_within_its_bounds() -> None:
    for path in (ROOT / "training" / "configs").glob("[a-z]*.py"):
        assert config.load(path.stem).name == path.stem


def test_a_killed_run_ends_where_an_uninterrupted_one_does(tiny_run: Run, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 3/" in line:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    checkpoint = next((tmp_path / "runs" / "tiny").glob("trunk-*.npz"))
    done = len(optimiser.read_note(checkpoint)["epochs"])
    assert 3 <= done < tiny_run.config.trunk.epochs
    subprocess.run([*COMMAND, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    resumed = optimiser.read_note(checkpoint)["epochs"]
    straight = tiny_run.trunk_record["epochs"]
    assert np.allclose([e["loss"] for e in resumed], [e["loss"] for e in straight], rtol=1e-4)
    with np.load(checkpoint) as a, np.load(tiny_run.path("trunk")) as b:
        for name in set(a.files) - {"note"}:
            assert np.allclose(a[name], b[name], rtol=1e-3, atol=1e-4), (
                "weights, moments and averages go on as they were"
            )


@pytest.mark.parametrize(("items", "size"), [(20, 8), (4_000, 40), (12_101, 64), (18_357, 80), (10_000_000, 256)])
def test_code_sizes_follow_the_catalogue(items: int, size: int) -> None:
    assert config.levels_for(items) == (size, size)


def test_a_seed_has_a_folder_of_its_own_and_the_rule_gives_the_levels(tmp_path: Path) -> None:
    tiny = config.load("tiny")
    by_rule = dataclasses.replace(tiny, seed=3, codes=dataclasses.replace(tiny.codes, levels=()))
    run = Run(config.check(by_rule), tmp_path, None)
    assert run.folder.name == "tiny-s3"
    assert run.config.codes.levels == config.levels_for(len(run.data.item_ids))


def test_only_items_unseen_in_training_get_vectors_from_text_alone(tiny_run: Run) -> None:
    tiny, cache = tiny_run.config, tiny_run.folder.parents[1]
    held_out = list({case.target for case in tiny_run.split.validation})[:10]  # with events, but none in training
    train = [rows[~np.isin(rows, held_out)] for rows in tiny_run.split.train]

    def vectors(switch: bool) -> np.ndarray:
        run = Run(
            dataclasses.replace(tiny, codes=dataclasses.replace(tiny.codes, unseen_from_text=switch)), cache, None
        )
        run.split = dataclasses.replace(run.split, train=train)
        return run.vectors

    learned = np.asarray(tiny_run.params["item"])
    assert not tiny.codes.unseen_from_text
    assert np.abs(learned[held_out]).max(1).min() > 0.01
    assert np.array_equal(vectors(False), tiny_run.vectors)
    gone = tiny_run.vectors - vectors(True)
    assert np.allclose(gone[held_out], learned[held_out], atol=1e-5)
    assert not np.delete(gone, held_out, axis=0).any()
