"""The model card that goes with an artefact: what it was trained on, how it ranks and for whom, where it ends, how to remake it."""

from __future__ import annotations

from typing import Any

from training.config import Config
from training.data import Dataset, Split, repeat_share

SERVED = "generator-int8"


def _interval(bounds: list[float] | None) -> str:
    return f" [{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""


def _gap(gap: list[float] | None) -> str:
    return f"{gap[0]:+.4f} [{gap[1]:+.4f}, {gap[2]:+.4f}]" if gap else ""


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.1f}"


def _cell(row: dict[str, Any]) -> str:
    recall, ndcg = _interval(row.get("recall10Interval")), _interval(row.get("ndcg10Interval"))
    return (
        f"| {row['model']} | {row['ranking']} | {row['recall5']:.4f} | {row['ndcg5']:.4f} | {row['recall10']:.4f}{recall} "
        f"| {row['ndcg10']:.4f}{ndcg} | {_gap(row.get('servedMinusThis_ndcg10'))} | {_minutes(row.get('trainSeconds'))} |"
    )


def _slice_lines(parts: list[dict[str, Any]]) -> list[str]:
    lines = []
    for part in parts:
        by_model = {row["model"]: row for row in part["rows"]}
        served = by_model.get(SERVED)
        if served is None:
            continue
        gaps = [_gap(by_model.get(name, {}).get("servedMinusThis_ndcg10")) for name in ("item-knn", "sasrec-ce")]
        lines.append(
            f"| {part['slice']}: {part['definition']} | {part['cases']:,} | {served['recall10']:.4f} | {served['ndcg10']:.4f} "
            f"| {gaps[0]} | {gaps[1]} |"
        )
    if not lines:
        return []
    head = [
        "| cases | number | R@10 | N@10 | served minus item-knn | served minus sasrec-ce |",
        "|---|---|---|---|---|---|",
    ]
    return [
        "## For whom",
        "",
        "The served generator on parts of the test cases; differences are of NDCG@10.",
        "",
        *head,
        *lines,
        "",
    ]


def weak_lines(parts: list[dict[str, Any]]) -> list[str]:
    """Slices in which nothing is found, or whose interval says that a comparison is better than what is served."""
    lines = []
    for part in parts:
        for row in part["rows"]:
            if row["model"] == SERVED and row["recall10"] == 0:
                lines.append(f"- Finds none of the {part['cases']:,} cases in which {part['definition']}.")
            gap = row.get("servedMinusThis_ndcg10")
            if gap and gap[2] < 0:
                lines.append(f"- Worse than {row['model']} where {part['definition']}: {_gap(gap)} NDCG@10.")
    return lines


def _training(config: Config, rows: list[dict[str, Any]]) -> list[str]:
    trunk = config.trunk
    seconds = {row["model"]: row.get("trainSeconds") for row in rows}
    seed = f" --seed {config.seed}" if config.seed else ""
    command = f"npm run train -- --config {config.name}{seed}"
    world = (
        "`npm run demo:generate` makes its data from a seed; then "
        if config.data.source.startswith("folder:.cache/larder")
        else ""
    )
    taken = f"Trained in {_minutes(seconds[SERVED])} minutes (trunk and decoder)" if seconds.get(SERVED) else "Trained"
    compared = (
        f", the SASRec it is held against in {_minutes(seconds['sasrec-ce'])}" if seconds.get("sasrec-ce") else ""
    )
    return [
        "## Training",
        "",
        f"dim {trunk.dim}, {trunk.layers} layers, {trunk.heads} heads, {trunk.epochs} epochs, decoder {config.decoder.epochs} epochs, codes "
        f"{' x '.join(map(str, config.codes.levels))}, histories of at most {config.data.history_length}, seed {config.seed}. {taken}{compared}.",
        "",
        f"To rebuild: {world}`{command}`. To write this card and the artefact anew from a finished run: "
        f"`{command} --stage evaluate`, then `{command} --stage export`; neither trains.",
        "",
    ]


def model_card(
    config: Config,
    data: Dataset,
    split: Split,
    metrics: dict[str, Any],
    evaluated: dict[str, Any],
    repeats: bool,
) -> str:
    """Markdown; the same for the same run, so that the version of the artefact is, too. `metrics` is metrics.json: rows, slices."""
    plan, rows, parts = config.data, metrics["rows"], metrics.get("slices", [])
    if plan.split == "leave-one-out":
        how = "leave one out: each user's last event is the test, the one before it validation"
    else:
        how = (
            f"by time: the last {plan.test_days:g} days are the test, the {plan.validation_days:g} days before them validation; "
            f"one case for each held-out event of type {', '.join(plan.target_types)} whose user has an earlier event"
        )
    temperature = evaluated.get("temperature", 1.0)
    drawn = f" Exploring requests draw at temperature {temperature:g}" + (
        f" (negative log-likelihood {evaluated['nllAtOne']:.3f} at 1, {evaluated['nllFitted']:.3f} at {evaluated['temperatureFitted']:g}, "
        "on validation cases whose item is among the first 20)."
        if "nllAtOne" in evaluated
        else "."
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
        f"ranking; choices and intervals look at *{'unmasked' if repeats else 'masked'}*. *served minus this*: NDCG@10 of {SERVED} minus this row. "
        "Intervals are 95 %, from resampling users; one training, so they leave its own spread out.",
        "",
        "| model | ranking | R@5 | N@5 | R@10 | N@10 | served minus this | minutes |",
        "|---|---|---|---|---|---|---|---|",
        *[_cell(row) for row in rows],
        "",
        f"Overlap of the served top 10 with the exact top 10: {evaluated['overlapExactTop10']:.3f}; items scored a request: "
        f"{evaluated['scored']:g}. Codes from text alone agree with trained codes at level 1 for {evaluated['levelOneAgreement']:.3f} of items "
        f"(a new item gets such codes).{drawn}",
        "",
        *_slice_lines(parts),
        *_training(config, rows),
        "## Limits",
        "",
        "- Offline ranking figures say how well the next event was foreseen, not how much people like what they are shown.",
        "- What was popular while the data were collected is favoured; new items stand on their text alone.",
        "- Users without history get no personal result from this model.",
        *weak_lines(parts),
        "",
    ]
    return "\n".join(lines)
