"""The rows of UniGRec's and SODA's tables as settings; each row differs from the one it is compared with by one switch.

    M0 hard ids, frozen tokenizer    M1 + soft ids    M2 + joint training    M3 + codeword uniformity
    M4 M3 + tokenizer-side distillation    M5 M3 + recommender-side distillation    M6 both

A name may carry changes for a search on validation: `M5:recommender_distillation=0.5`, `A+soda:soda.t=4,soda.path=own`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields, replace

from training.config import ConfigError, levels_for
from training.joint.config import Joint, Soda, Tokenizer, check

UNIFORMITY = 0.1  # the paper's 1e-4: its content vectors have length 1 in 768 dimensions, ours a mean square of 1
STRONG_UNIFORMITY = 100 * UNIFORMITY  # the paper's 1e-2
TOKENIZER_DISTILLATION, RECOMMENDER_DISTILLATION = 0.001, 1.0
JOINT_TEMPERATURE = 1.0
TOKENIZER_RATE = 0.2


@dataclass(frozen=True)
class Variant:
    """`compared` names the row that this one is an answer to; None for the first. `group` is main, extra or soda."""

    name: str
    settings: Joint
    compared: str | None
    group: str


def base(dataset: str, items: int) -> Joint:
    """M0 on a data set. Code sizes follow training.config.levels_for, three levels each."""
    plain = Joint(tokenizer=Tokenizer(codes=levels_for(items)[0]))
    if dataset == "beauty":
        return replace(plain, buckets=(4,), epochs=20)
    if dataset == "tiny":
        small = replace(plain.tokenizer, steps=150, batch=240, hidden=64, latent=16)
        return replace(plain, tokenizer=small, dim=32, length=16, targets_per_step=512, decoder_hidden=32)
    return plain


def rows(start: Joint) -> dict[str, Variant]:
    made: dict[str, Variant] = {}

    def add(name: str, settings: Joint, compared: str | None, group: str) -> Joint:
        made[name] = Variant(name, check(settings), compared, group)
        return settings

    m0 = add("M0", start, None, "main")
    m1 = add("M1", replace(m0, soft_ids=True, t_start=JOINT_TEMPERATURE), "M0", "main")
    m2 = add("M2", replace(m1, joint=True, tokenizer_rate=TOKENIZER_RATE), "M1", "main")
    even = replace(m2.tokenizer, uniformity=UNIFORMITY)
    m3 = add("M3", replace(m2, tokenizer=even), "M2", "main")
    add("M4", replace(m3, tokenizer_distillation=TOKENIZER_DISTILLATION), "M3", "main")
    m5 = add("M5", replace(m3, recommender_distillation=RECOMMENDER_DISTILLATION), "M3", "main")
    m6 = add("M6", replace(m5, tokenizer_distillation=TOKENIZER_DISTILLATION), "M3", "main")

    add("M6 one stage", replace(m6, finish_share=0.0), "M6", "extra")
    add("M6 as released", replace(m6, released_defects=True), "M6", "extra")
    # without the last stage, which would train the fixed temperature's recommender on hard ids after all
    single = add("M2 one stage", replace(m2, finish_share=0.0), "M2", "extra")
    fixed = replace(m2.tokenizer, annealed=False)
    flat = replace(single, tokenizer=fixed, annealed=False, t_start=fixed.t_start)
    add("M2 fixed temperature", flat, "M2 one stage", "extra")
    add("M3 strong uniformity", replace(m3, tokenizer=replace(even, uniformity=STRONG_UNIFORMITY)), "M3", "extra")
    add("M0 k-means", replace(m0, tokenizer=replace(m0.tokenizer, start="k-means")), "M0", "extra")
    add("M0 + distillation", replace(m0, recommender_distillation=RECOMMENDER_DISTILLATION), "M0", "extra")
    add("M6 + text", replace(m6, text_input=True), "M6", "extra")
    add("M6 + learned vectors", replace(m6, learned_vectors=True), "M6", "extra")
    add("M6 + item head", replace(m6, item_head=True), "M6", "extra")
    both = replace(m3, learned_vectors=True, item_head=True)
    add("M3 + vectors, head", both, "M3", "extra")
    add(
        "M5 + vectors, head",
        replace(both, recommender_distillation=RECOMMENDER_DISTILLATION),
        "M3 + vectors, head",
        "extra",
    )

    frozen = replace(m0, soda=Soda())
    turns = add("A", replace(m3, soda=Soda(cycle=2)), "M3", "soda")
    for stem, backbone in (("M0", frozen), ("A", turns)):
        kept = backbone.soda
        chosen = replace(kept, kind="soda", path="teacher-forced")
        add(f"{stem} + soda", replace(backbone, soda=chosen), stem, "soda")
        for name, changed in {
            "kl": replace(chosen, kind="kl"),
            "soft labels": replace(chosen, kind="soft-label"),
            "mse": replace(chosen, kind="mse"),
            "soda, one-hot": replace(chosen, target="one-hot"),
            "soda, sample": replace(chosen, negative="sample"),
            "soda, log-mean": replace(chosen, negative="log-mean"),
        }.items():
            compared = stem if name in ("kl", "soft labels", "mse") else f"{stem} + soda"
            add(f"{stem} + {name}", replace(backbone, soda=changed), compared, "soda")
    return made


def named(start: Joint, name: str) -> Variant:
    """A row, or a row with changes behind a colon. Raises ConfigError for a name or a field that does not exist."""
    known = rows(start)
    stem, _, changes = name.partition(":")
    if stem not in known:
        raise ConfigError(f"variant {stem!r}: is none of {', '.join(known)}")
    row = known[stem]
    if not changes:
        return row
    settings = row.settings
    for change in changes.split(","):
        path, _, text = change.partition("=")
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = text
        settings = _changed(settings, path.split("."), value)
    return Variant(name, check(settings), stem, "search")


def _changed(part: Joint, path: list[str], value: object) -> Joint:
    known = {field.name for field in fields(part)}
    if path[0] not in known:
        raise ConfigError(f"variant: {path[0]!r} is no field of {type(part).__name__}")
    inner = _changed(getattr(part, path[0]), path[1:], value) if path[1:] else value
    return replace(part, **{path[0]: inner})


def chosen(start: Joint, names: str) -> list[Variant]:
    """`all`, a group (main, extra, soda), or names separated by semicolons; searched rows have commas inside."""
    known = rows(start)
    found: list[Variant] = []
    for name in names.split(";"):
        name = name.strip()
        if name == "all" or name in ("main", "extra", "soda"):
            found += [row for row in known.values() if name in ("all", row.group)]
        else:
            found.append(named(start, name))
    return found
