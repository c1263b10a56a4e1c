"""The joint loop: where gradients go, what pooling may see, who is a negative, and that a killed ablation goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.config import ConfigError
from training.joint import ablation, codes, distil, evaluation, loop, recommender, variants
from training.joint.batches import JointBatcher
from training.joint.config import Joint, Soda, check
from training.tests.joint_world import LENGTH, SMALL, SOFT, small_world


@pytest.fixture(scope="module")
def made() -> dict:
    return codes.pretrain(small_world().content, SMALL.tokenizer, 0)[0]


def parts_of(settings: Joint, made: dict) -> tuple[dict, dict, dict, dict]:
    """Groups, rows, tables and knobs of one step."""
    world = small_world()
    rec = recommender.init(jax.random.key(0), settings, world.items, world.content.shape[1], world.teacher.shape[1])
    batcher = JointBatcher(world.split.train, LENGTH, settings.targets_per_step, 0, (), world.items)
    content = jnp.asarray(world.content)
    found = np.asarray(codes.hard_codes(codes.latents(made, content), made["books"]))
    base = np.asarray(codes.temperatures(codes.latents(made, content), made["books"]))
    tables = {
        "content": content,
        "teacher": jnp.asarray(world.teacher),
        "share": jnp.asarray(world.share),
        "codes": jnp.asarray(found),
        "counts": [jnp.asarray(c) for c in recommender.counts_of(found, settings.tokenizer.codes).levels],
    }
    knobs = {
        "tau": base,
        "distil_tau": base,
        "soda_tau": 2 * base,
        "hardness": np.float32(0),
        "target_open": np.float32(1),
        "weights": {"reconstruction": 0.0, "tokenizer_distillation": 1.0, "recommender_distillation": 1.0, "soda": 1.0},
    }
    return {"tokenizer": made, "recommender": rec}, next(batcher.rows(0)), tables, knobs


def gradients(settings: Joint, made: dict, **changed: object) -> dict:
    groups, rows, tables, knobs = parts_of(settings, made)
    knobs |= changed
    return jax.grad(lambda g: loop.losses(settings, g, rows, tables, knobs, jax.random.key(3))[0])(groups)


def size(tree: object) -> float:
    return float(sum(np.abs(np.asarray(leaf)).sum() for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_the_ranking_loss_reaches_the_tokenizer_through_soft_ids(made: dict, hardness: float) -> None:
    gradient = gradients(SOFT, made, hardness=np.float32(hardness))["tokenizer"]
    assert size(gradient["encoder"]) > 0
    assert size(gradient["books"]) > 0


@pytest.mark.parametrize("settings", [SMALL, replace(SOFT, joint=False)], ids=["hard ids", "frozen tokenizer"])
def test_it_does_not_reach_it_through_hard_ids_or_when_frozen(made: dict, settings: Joint) -> None:
    assert size(gradients(settings, made)["tokenizer"]) == 0


def test_adapters_get_gradients_and_the_released_form_leaves_them_random(made: dict) -> None:
    both = replace(SOFT, tokenizer_distillation=1.0, recommender_distillation=1.0)
    trained = gradients(both, made)["recommender"]["adapters"]
    assert all(size(trained[name]) > 0 for name in ("pool", "teacher", "hidden"))
    assert size(gradients(replace(both, released_defects=True), made)["recommender"]["adapters"]) == 0


@pytest.mark.parametrize("kind", ["soda", "kl", "mse", "soft-label"])
def test_soda_and_its_controls_plug_into_both_backbones(made: dict, kind: str) -> None:
    for backbone in (SMALL, SOFT):
        gradient = gradients(replace(backbone, soda=Soda(kind=kind)), made)
        assert size(gradient["recommender"]) > 0
        assert (size(gradient["tokenizer"]) > 0) == backbone.joint
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_closed_target_passes_no_gradient_to_the_item(made: dict) -> None:
    settings = replace(SOFT, soda=Soda(kind="mse"))
    groups, rows, tables, knobs = parts_of(settings, made)

    def reaches_encoder(target_open: float) -> float:
        def soda_alone(g: dict) -> jax.Array:
            opened = {**knobs, "target_open": np.float32(target_open)}
            return loop.losses(settings, g, rows, tables, opened, jax.random.key(3))[1]["soda"]

        return size(jax.grad(soda_alone)(groups)["tokenizer"]["encoder"])

    # what is left when it is closed comes through the history's soft ids
    assert reaches_encoder(1.0) > 2 * reaches_encoder(0.0) > 0


def test_cumulative_pooling_sees_neither_padding_nor_the_future() -> None:
    states = jax.random.normal(jax.random.key(0), (3, 5, 4))
    valid = jnp.asarray([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])
    pooled = recommender.cumulative_mean(states, valid)
    assert np.allclose(pooled[0, 2], states[0, :3].mean(0), atol=1e-6)
    assert np.allclose(pooled[1, 4], states[1, :3].mean(0), atol=1e-6)

    def reach(pool: object, place: int) -> np.ndarray:
        """Which positions of row 0 the pooled state at `place` depends on."""
        return np.abs(jax.jacobian(lambda s: pool(s, valid)[0, place])(states)[:, 0]).sum((0, 2)) > 0

    assert reach(recommender.cumulative_mean, 2).tolist() == [True, True, True, False, False]
    leaking = lambda s, v: jnp.broadcast_to(s.mean(1, keepdims=True), s.shape)  # noqa: E731
    assert reach(leaking, 2).all(), "a planted mean over the whole sequence must be noticed"


def test_the_released_mask_zeroes_the_last_two_rows_and_counts_padding() -> None:
    states = jnp.ones((4, 3, 2))
    valid = jnp.asarray([[True, False, False]] * 4)
    pooled = recommender.released_mean(states.at[:, 1:].set(7.0), valid)
    assert float(pooled[0, 0, 0]) == pytest.approx((1 + 7 + 7) / 3)
    assert size(pooled[2:]) == 0


def test_negatives_are_neither_the_same_user_nor_the_same_target_nor_padding() -> None:
    owner, target = jnp.asarray([1, 1, 2, 3, -1]), jnp.asarray([4, 5, 5, 6, 0])
    mask = np.asarray(distil.contrast_mask(owner, target, jnp.asarray([1.0, 1, 1, 1, 0])))
    assert mask[0].tolist() == [True, False, True, True, False]  # position 1 is the same user
    assert mask[1].tolist() == [False, True, False, True, False]  # position 2 has the same target
    assert mask.diagonal().all()


def test_popular_items_are_no_stronger_negatives_for_being_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    adapters = {"hidden": {"w": jnp.eye(4), "b": jnp.zeros(4)}}
    hidden, item = (jnp.asarray(rng.normal(size=(6, 4)), jnp.float32) for _ in range(2))
    owner, target, weight = jnp.arange(6), jnp.arange(6), jnp.ones(6)

    def loss(share: list[float]) -> float:
        return float(
            distil.recommender_side(adapters, hidden, item, owner, target, jnp.log(jnp.asarray(share)), weight, 0.5)
        )

    assert loss([0.1] * 6) == pytest.approx(loss([0.3] * 6), abs=1e-5)
    assert loss([0.1] * 5 + [0.9]) != pytest.approx(loss([0.1] * 6), abs=1e-3)


def test_batches_tell_owners_and_real_places() -> None:
    long = [np.arange(20, dtype=np.int32), np.array([30, 31, 32], np.int32)]
    batcher = JointBatcher(long, 8, 64, 0, (), 60)
    rows = next(batcher.rows(0))
    for row in range(len(rows.owner)):
        count = rows.valid[row].sum()
        assert rows.valid[row, :count].all(), "real places come first"
        assert (rows.owner[row] == -1) == (count == 0)
        inputs, goals = rows.unique[rows.inputs[row, :count]], rows.unique[rows.targets[row, :count]]
        assert (goals == inputs + 1).all()
        assert all((item < 20) == (rows.owner[row] == 0) for item in inputs)
    assert sorted(rows.owner[rows.owner >= 0].tolist()) == [0, 0, 0, 1]


def test_codes_of_collided_items_share_their_leaf_by_popularity(made: dict) -> None:
    world = small_world()
    trained = loop.run(world, replace(SMALL, epochs=1, finish_share=0.0), 0, made)
    same = replace_codes(trained, np.zeros((world.items, 3), np.int32))
    _, shown = evaluation.ranked_items(same, world, SMALL, world.split.validation[:3])
    popular = np.argsort(-world.share, kind="stable")[:10]
    assert all(row.tolist() == popular.tolist() for row in shown)


def replace_codes(trained: loop.Trained, found: np.ndarray) -> loop.Trained:
    return replace(trained, codes=found)


def test_a_run_is_the_same_twice_and_hard_ids_leave_the_tokenizer_alone(made: dict) -> None:
    world = small_world()
    first, second = (loop.run(world, SMALL, 1, made) for _ in range(2))
    assert first.losses == second.losses
    assert first.losses[-1]["rec"] < first.losses[0]["rec"]
    assert (first.codes == first.codes_before).all()


def test_joint_training_in_turns_moves_the_tokenizer_in_its_epochs_only(made: dict) -> None:
    world = small_world()
    turns = replace(SOFT, tokenizer_rate=1.0, epochs=4, soda=Soda(kind="soda", cycle=2))
    moved = loop.run(world, turns, 0, made)
    frozen = loop.run(world, replace(turns, soda=replace(turns.soda, freeze_share=0.0)), 0, made)
    assert size(jax.tree.map(lambda a, b: a - b, moved.tokenizer, made)) > 0
    assert size(jax.tree.map(lambda a, b: a - b, frozen.tokenizer, made)) == 0


def test_settings_out_of_bounds_are_named() -> None:
    with pytest.raises(ConfigError, match="joint = True, must be False without soft_ids"):
        check(replace(SMALL, joint=True))
    with pytest.raises(ConfigError, match=r"soda\.kind"):
        check(replace(SMALL, soda=Soda(kind="some")))


def test_rows_differ_from_what_they_are_compared_with_and_searches_name_fields() -> None:
    start = variants.base("tiny", 240)
    rows = variants.rows(start)
    assert {"M0", "M1", "M2", "M3", "M4", "M5", "M6"} <= rows.keys()
    assert all(row.settings != rows[row.compared].settings for row in rows.values() if row.compared)
    searched = variants.named(start, "A + soda:soda.t=4.0,soda.path=teacher-forced")
    assert (searched.settings.soda.t, searched.settings.soda.path) == (4.0, "teacher-forced")
    with pytest.raises(ConfigError, match="nothing"):
        variants.named(start, "M0:nothing=1")


def test_an_ablation_keeps_its_rows_and_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "load_world", lambda *_: small_world())
    monkeypatch.setattr(variants, "base", lambda *_: SMALL)
    arguments = ["--dataset", "small", "--seeds", "0", "--epochs", "2", "--variants"]
    ablation.main([*arguments, "M0"], tmp_path)
    folder = ablation.folder_of("small", tmp_path)
    written = folder / "M0.s0.json"
    result = json.loads(written.read_text())
    assert result["budget"]
    assert len(result["test"]["ranks"]) == len(json.loads((folder / "cases.json").read_text())["test"])
    assert {"entropyBits", "collisionRate", "codesChanged", "margins"} <= result["diagnostics"].keys()
    before = written.stat().st_mtime_ns
    ablation.main([*arguments, "M0;M6"], tmp_path)
    assert written.stat().st_mtime_ns == before, "the row that was there is not run again"
    assert "softHardGap" in json.loads((folder / "M6.s0.json").read_text())["diagnostics"]
