"""Does it hold, unchanged, on purchases with repeats and one split in time for everybody (Online Retail, UCI)?

    python -m training.train --config online_retail

Baskets share one timestamp, so a basket's other items are neither history nor a sequence's order: file order inside it.
"""

from dataclasses import replace

from training.configs.beauty import CONFIG as BEAUTY

CONFIG = replace(
    BEAUTY,
    name="online_retail",
    data=replace(BEAUTY.data, source="pack:online-retail-uci", split="time", validation_days=7, test_days=14),
    codes=replace(BEAUTY.codes, levels=()),
)
