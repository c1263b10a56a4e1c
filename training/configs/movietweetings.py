"""Does it hold, unchanged, on real timestamps and one split in time for everybody (MovieTweetings, 2013)?

    python -m training.train --config movietweetings

Training ends on 4 August; two weeks are validation, the last two test. Many cases have a history of one or two items.
"""

from dataclasses import replace

from training.configs.beauty import CONFIG as BEAUTY

CONFIG = replace(
    BEAUTY,
    name="movietweetings",
    data=replace(
        BEAUTY.data,
        source="pack:movietweetings-100k",
        split="time",
        validation_days=14,
        test_days=14,
        target_types=("like",),
    ),
    codes=replace(BEAUTY.codes, levels=()),
)
