"""The papers' backbone: padding and the future are out of reach, beams end as real items, training learns, graphs agree."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.data import Case, by_time
from training.metrics import hits
from training.synthetic import world
from training.t5 import export, model
from training.t5.decode import search, target_ranks
from training.t5.prefixes import PrefixBatcher, Tokens, history_tokens, item_tokens
from training.t5.run import train_and_rank
from training.t5.settings import PAPER, run_key
from training.t5.train import planned_epochs, rate_at, train
from training.tokenizer import Tree, tree
from training.train import Run, StageError

LEVELS = (3, 4)
HEADS = 2
SMALL = replace(PAPER, dim=16, heads=HEADS, items=8, buckets=(), batch=64, epochs=12, learning_rate=5e-3, average=0.99)


@pytest.fixture(scope="module")
def catalogue() -> tuple[Tokens, Tree]:
    """30 items in 3 x 4 leaves, some of them empty."""
    codes = np.random.default_rng(1).integers(0, (3, 3), (30, 2)).astype(np.uint8)
    codes[7] = (2, 3)
    ordered = tree(codes, LEVELS)
    return item_tokens(codes, ordered), ordered


@pytest.fixture(scope="module")
def params(catalogue: tuple[Tokens, Tree]) -> model.Params:
    return model.init(jax.random.key(3), catalogue[0].sizes, dim=16, layers=2, heads=HEADS, widen=2)


def test_every_item_has_a_token_sequence_of_its_own(catalogue: tuple[Tokens, Tree]) -> None:
    tokens, _ = catalogue
    assert len(np.unique(tokens.of, axis=0)) == 30
    assert (tokens.of >= tokens.firsts).all()
    assert (tokens.of < tokens.firsts + tokens.sizes).all()


def test_padding_does_not_reach_the_answer(catalogue: tuple[Tokens, Tree], params: model.Params) -> None:
    tokens, _ = catalogue
    prefix = jnp.asarray(np.pad(tokens.of[:1, :2], ((0, 0), (1, 0))))[None]

    def answer(items: int, filler: int) -> np.ndarray:
        ids, real = history_tokens(tokens, [np.array([4, 9, 2])], items)
        ids[~real] = filler
        states = model.encode(params, ids, real, HEADS)
        return np.asarray(model.decode(params, model.memory(params, states), real, prefix, HEADS))

    assert np.allclose(answer(3, 0), answer(7, 0), atol=1e-5)
    assert np.array_equal(answer(7, 0), answer(7, 5))


def test_the_encoder_looks_both_ways_and_the_decoder_only_back(
    catalogue: tuple[Tokens, Tree], params: model.Params
) -> None:
    tokens, _ = catalogue
    ids, real = history_tokens(tokens, [np.array([4, 9, 2])], 3)
    states = model.encode(params, ids, real, HEADS)
    changed = ids.copy()
    changed[0, -1] = tokens.firsts[2] + (changed[0, -1] - tokens.firsts[2] + 1) % tokens.sizes[2]
    assert not np.allclose(states[0, 0], model.encode(params, changed, real, HEADS)[0, 0])

    kept = model.memory(params, states)
    prefix = np.array([[[0, 1, 4]], [[0, 1, 5]]], np.int32)
    double = [(jnp.repeat(k, 2, 0), jnp.repeat(v, 2, 0)) for k, v in kept]
    first, second = model.decode(params, double, np.repeat(real, 2, 0), prefix, HEADS)[:, 0]
    assert np.array_equal(first[:2], second[:2])
    assert not np.allclose(first[2], second[2])


def test_the_order_of_a_history_matters(catalogue: tuple[Tokens, Tree], params: model.Params) -> None:
    tokens, ordered = catalogue
    shape = {"heads": HEADS, "items": 4, "beams": 30}
    histories = [np.array([1, 2, 3]), np.array([3, 2, 1])]
    _, logp = search(params, tokens, ordered, histories, None, **shape)
    assert not np.allclose(logp[0], logp[1])


@pytest.mark.parametrize("masked", [False, True])
def test_wide_beams_rank_every_live_item_as_brute_force_does(
    catalogue: tuple[Tokens, Tree], params: model.Params, masked: bool
) -> None:
    tokens, ordered = catalogue
    histories = [np.array([1, 2, 3]), np.array([8]), np.array([7, 20, 11, 12, 5])]
    seen = [np.unique(history) for history in histories] if masked else None
    shape = {"heads": HEADS, "items": 5}
    rows, logp = search(params, tokens, ordered, histories, seen, beams=40, **shape)
    for case, history in enumerate(histories):
        dead = set(history.tolist()) if masked else set()
        expected = brute_force(params, tokens, history, dead)
        live = np.isfinite(logp[case])
        assert set(rows[case][live].tolist()) == set(expected)
        assert np.allclose(logp[case][live], [expected[row] for row in rows[case][live]], atol=1e-5)
        assert np.isclose(np.exp(logp[case][live]).sum(), 1, atol=1e-5)
        assert (np.diff(logp[case][live]) <= 0).all()


def brute_force(params: model.Params, tokens: Tokens, history: np.ndarray, dead: set[int]) -> dict[int, float]:
    """Log-probability of every live item, its steps' softmax over the tokens that lead to a live item."""
    ids, real = history_tokens(tokens, [history], 5)
    kept = model.memory(params, model.encode(params, ids, real, HEADS))
    alive = [row for row in range(len(tokens.of)) if row not in dead]
    prefix = np.pad(tokens.of[alive][:, :2], ((0, 0), (1, 0)))[None]
    states = model.decode(params, kept, real, prefix, HEADS)[0]  # (items, 3, dim)
    steps = [np.asarray(model.level_logits(params, states[:, at], at, tokens.sizes), np.float64) for at in range(3)]
    result = {}
    for at, row in enumerate(alive):
        total, own = 0.0, tokens.of[row]
        for level, logits in enumerate(steps):
            siblings = {tokens.of[o][level] for o in alive if (tokens.of[o][:level] == own[:level]).all()}
            open_ones = np.array(sorted(siblings)) - tokens.firsts[level]
            total += logits[at, own[level] - tokens.firsts[level]] - np.log(np.exp(logits[at, open_ones]).sum())
        result[row] = total
    return result


def test_narrow_beams_return_real_unseen_items_and_ranks_follow_them(
    catalogue: tuple[Tokens, Tree], params: model.Params
) -> None:
    tokens, ordered = catalogue
    rng = np.random.default_rng(5)
    cases = [Case(0, rng.integers(0, 30, n), int(rng.integers(30)), np.arange(n)) for n in (1, 3, 8, 2)]
    shape = {"heads": HEADS, "items": 8}
    rows, logp = search(params, tokens, ordered, [c.history for c in cases], [c.seen for c in cases], beams=4, **shape)
    assert rows.shape == (4, 4)
    for case, found, score in zip(cases, rows, logp, strict=True):
        assert np.isfinite(score).all()
        assert len(set(found.tolist())) == 4
        assert not set(found.tolist()) & set(case.seen.tolist())
    ranks = target_ranks(params, tokens, ordered, cases, True, beams=4, block=3, **shape)
    places = [np.flatnonzero(found == case.target) for case, found in zip(cases, rows, strict=True)]
    assert ranks.tolist() == [int(at[0]) if len(at) else -1 for at in places]


def test_an_epoch_asks_every_question_once_and_a_drawn_one_at_most_so_many_a_user(
    catalogue: tuple[Tokens, Tree],
) -> None:
    tokens, _ = catalogue
    sequences = [np.array([1, 2, 3, 4, 5, 6]), np.array([9]), np.array([7, 8])]

    def asked(prefixes: int, epoch: int) -> list[tuple[int, ...]]:
        batcher = PrefixBatcher(sequences, tokens, 3, (2,), 4, prefixes, 0)
        found = []
        for ids, real, target, weight in batcher.epoch(epoch):
            assert real.any(1).all()
            for row in np.flatnonzero(weight):
                found.append((*ids[row][real[row]].tolist(), *target[row].tolist()))
        return found

    expected = set()
    for sequence, cut in product(sequences, range(1, 6)):
        if cut < len(sequence):
            history = tokens.of[sequence[max(0, cut - 3) : cut]].reshape(-1)
            expected.add((*history.tolist(), *tokens.of[sequence[cut]].tolist()))
    assert len(asked(0, 0)) == 6
    assert set(asked(0, 0)) == expected
    assert len(asked(2, 0)) == 3
    assert set(asked(2, 0)) | set(asked(2, 1)) | set(asked(2, 2)) <= expected
    assert asked(2, 0) != asked(2, 1)


def test_a_budget_of_minutes_becomes_a_number_of_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert planned_epochs(PAPER, 10, 100.0) == 12
    assert planned_epochs(PAPER, 0.1, 100.0) == 2
    assert planned_epochs(PAPER, None, 100.0) == PAPER.epochs
    assert rate_at(0, PAPER) == PAPER.learning_rate
    assert np.isclose(rate_at(1, PAPER), PAPER.learning_rate * PAPER.last_rate)
    assert run_key(PAPER, 0, "codes", 10) != run_key(PAPER, 0, "codes", 11)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory):
    """A trained little model of the synthetic world, from items' hidden topics as codes, killed once on its way."""
    data = world("tiny", items=60, users=200, topics=6)
    split = by_time(data, 8, 7, 7, ("purchase",))
    codes = np.stack([np.arange(60) % 6, np.arange(60) // 6 % 5], 1).astype(np.uint8)
    ordered = tree(codes, (6, 5))
    tokens = item_tokens(codes, ordered)
    folder: Path = tmp_path_factory.mktemp("t5")

    class Killed(Exception):
        pass

    def kill_at(count: int):
        lines = iter(range(1, 100))

        def log(line: str) -> None:
            if line.startswith("epoch") and next(lines) == count:
                raise Killed

        return log

    def run(checkpoint: str, log):
        return train(
            sequences=split.train,
            tokens=tokens,
            settings=SMALL,
            minutes=None,
            seed=0,
            checkpoint=folder / checkpoint,
            log=log,
            validate=None,
        )

    whole = run("whole.npz", lambda line: None)
    with pytest.raises(Killed):
        run("killed.npz", kill_at(5))
    again = run("killed.npz", lambda line: None)
    return split, tokens, ordered, whole, again


def test_the_loss_falls_and_targets_come_first_more_often_than_by_chance(learned) -> None:
    split, tokens, ordered, (params, record), _ = learned
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert losses[-1] < losses[0] - 0.7
    assert losses[-1] < 0.85 * np.log(60)  # a uniform guess over items
    ranks = target_ranks(params, tokens, ordered, split.test, False, heads=HEADS, items=8, beams=20)
    assert hits(ranks, 5).mean() > 3 * 5 / 60


def test_a_killed_run_ends_where_an_uninterrupted_one_does(learned) -> None:
    *_, (whole, record), (again, resumed) = learned
    assert [e["loss"] for e in record["epochs"]] == [e["loss"] for e in resumed["epochs"]]
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        assert np.array_equal(one, other)


def test_graphs_reproduce_the_network(learned, tmp_path: Path) -> None:
    _, tokens, _, (params, _), _ = learned
    worst = export.write(tmp_path, jax.tree.map(np.asarray, params), tokens.sizes, SMALL)
    assert worst < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "step2.onnx", "step3.onnx", "shape.json"}
    broken = jax.tree.map(np.asarray, params)
    graphs = {path.name: path.read_bytes() for path in tmp_path.glob("*.onnx")}
    broken["decoder"]["layers"][1]["query"] = -broken["decoder"]["layers"][1]["query"]
    assert export.difference(graphs, broken, tokens.sizes, SMALL) > export.TOLERANCE


def test_a_run_ranks_the_cases_of_its_configuration_and_is_not_made_twice(tiny_run: Run) -> None:
    settings = replace(SMALL, epochs=2, validation_users=40, beams=8)
    with pytest.raises(StageError, match="no epoch"):
        train_and_rank(tiny_run, settings, None, as_it_is=True)
    result = train_and_rank(tiny_run, settings, None)
    assert (result["epochs"], result["plannedEpochs"], len(result["curve"])) == (2, 2, 2)
    for ranking in ("masked", "unmasked"):
        ranks = np.array(result[ranking])
        assert len(ranks) == len(tiny_run.split.test)
        assert ranks.max() < 8
    assert result["recall10"] == round(float(hits(np.array(result["masked"]), 10).mean()), 5)
    folder = tiny_run.folder.parent / "t5"
    written = list(folder.glob("tiny-*.json"))
    assert [json.loads(path.read_text()) for path in written] == [result]
    before = written[0].stat().st_mtime_ns
    assert train_and_rank(tiny_run, settings, None) == result
    assert written[0].stat().st_mtime_ns == before
    check = json.loads((folder / "tiny" / "check.json").read_text())
    assert all(not set(found) & set(seen) for found, seen in zip(check["items"], check["seen"], strict=True))
