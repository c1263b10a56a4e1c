"""The keys of cached results: what a stage depends on changes them, and nothing else does."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import pytest

from training.config import STAGE_FIELDS, Codes, Config, load, stage_key

AFTER_CODES = {"tokenize", "decoder", "export", "evaluate"}


@pytest.fixture(scope="module")
def tiny() -> Config:
    return load("tiny")


def keys(config: Config, data: str = "d1") -> dict[str, str]:
    return {stage: stage_key(config, stage, data) for stage in STAGE_FIELDS}


def changed(before: Config, after: Config) -> set[str]:
    old, new = keys(before), keys(after)
    return {stage for stage in STAGE_FIELDS if old[stage] != new[stage]}


@dataclass(frozen=True)
class LaterCodes(Codes):
    """Codes as a later version might have them."""

    restarts: int = 1


def test_a_field_enters_the_keys_only_with_a_value_other_than_its_default(tiny: Config) -> None:
    later = replace(tiny, codes=LaterCodes(**asdict(tiny.codes)))
    assert changed(tiny, later) == set()
    assert changed(tiny, replace(later, codes=replace(later.codes, restarts=2))) == AFTER_CODES


@pytest.mark.parametrize(
    ("section", "stages"),
    [
        ("trunk", {"trunk", *AFTER_CODES}),
        ("codes", AFTER_CODES),
        ("decoder", {"decoder", "export", "evaluate"}),
        ("serve", {"export", "evaluate"}),
        ("sasrec", {"sasrec"}),
        ("data", set(STAGE_FIELDS)),
    ],
)
def test_any_field_of_a_section_changes_its_own_stage_and_later_ones_only(
    tiny: Config, section: str, stages: set[str]
) -> None:
    part = getattr(tiny, section)
    for field in fields(part):
        if field.name != "source":
            other = replace(tiny, **{section: replace(part, **{field.name: "other"})})
            assert changed(tiny, other) == stages, field.name


def test_seed_and_data_change_every_key_and_names_and_places_none(tiny: Config) -> None:
    assert changed(tiny, replace(tiny, seed=1)) == set(STAGE_FIELDS)
    assert not set(keys(tiny, "d1").items()) & set(keys(tiny, "d2").items())
    moved = replace(tiny, name="other", output="other", data=replace(tiny.data, source="folder:other"))
    assert changed(tiny, moved) == set()
