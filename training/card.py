"""The model card that goes with an artefact: what it was trained on, how it ranks, where it ends."""

from __future__ import annotations

from typing import Any

from training.config import Config
from training.data import Dataset, Split, repeat_share


def _cell(row: dict[str, Any]) -> str:
    gap = row.get("servedMinusThis_ndcg10")
    difference = f"{gap[0]:+.4f} [{gap[1]:+.4f}, {gap[2]:+.4f}]" if gap else ""
    return (
        f"| {row['model']} | {row['ranking']} | {row['recall5']:.4f} | {row['ndcg5']:.4f} | {row['recall10']:.4f} "
        f"| {row['ndcg10']:.4f} | {difference} |"
    )


def model_card(
    config: Config,
    data: Dataset,
    split: Split,
    rows: list[dict[str, Any]],
    evaluated: dict[str, Any],
    repeats: bool,
) -> str:
    """Markdown; the same for the same run, so that the version of the artefact is, too."""
    plan, trunk = config.data, config.trunk
    if plan.split == "leave-one-out":
        how = "leave one out: each user's last event is the test, the one before it validation"
    else:
        how = (
            f"by time: the last {plan.test_days:g} days are the test, the {plan.validation_days:g} days before them validation; "
            f"one case for each held-out event of type {', '.join(plan.target_types)} whose user has an earlier event"
        )
    lines = [
        f"# Model card: {config.name}",
        "",
        "A next-item generator: a causal transformer over item vectors, a depth decoder over residual k-means codes of those "
        "vectors, exact scores inside the best leaves. It serves recommendations from a user's own history.",
        "",
        "## Data",
        "",
        f"- {data.name}: {len(data.item_ids):,} items, {len(data.user_ids):,} users, {data.rows:,} events "
        f"({', '.join(sorted(data.kinds))}), sha256 `{data.sha256[:16]}…`, share of repeats {repeat_share(data, config.data.target_types):.3f}",
        f"- split {how}; {len(split.validation):,} validation and {len(split.test):,} test cases; all items are ranked",
        "- every positive event is input; the model is trained on what lies before the validation period"
        if plan.split == "time"
        else "- order only, no times"
        if data.ordered_only
        else "- every event is input",
        "",
        "## Figures on the test split",
        "",
        f"Choices were made on validation (alpha {evaluated['alpha']:g}). *masked* leaves the user's earlier items out of the "
        f"ranking; choices and intervals look at *{'unmasked' if repeats else 'masked'}*. Last column: NDCG@10 of generator-int8 minus this row, "
        "with a 95 % interval from resampling users. One seed.",
        "",
        "| model | ranking | R@5 | N@5 | R@10 | N@10 | served minus this |",
        "|---|---|---|---|---|---|---|",
        *[_cell(row) for row in rows],
        "",
        f"Overlap of the served top 10 with the exact top 10: {evaluated['overlapExactTop10']:.3f}; items scored a request: "
        f"{evaluated['scored']:g}. Codes from text alone agree with trained codes at level 1 for {evaluated['levelOneAgreement']:.3f} of items "
        "(a new item gets such codes).",
        "",
        "## Training",
        "",
        f"`python -m training.train --config {config.name}`, seed {config.seed}: dim {trunk.dim}, {trunk.layers} layers, {trunk.heads} heads, "
        f"{trunk.epochs} epochs, decoder {config.decoder.epochs} epochs, codes {' x '.join(map(str, config.codes.levels))}.",
        "",
        "## Limits",
        "",
        "- Offline ranking figures say how well the next event was foreseen, not how much people like what they are shown.",
        "- What was popular while the data were collected is favoured; new items stand on their text alone.",
        "- Users without history get no personal result from this model.",
        "",
    ]
    return "\n".join(lines)
