"""Does the configuration that was chosen on Beauty hold, unchanged, on Amazon Sports (leave one out, all items ranked)?

python -m training.train --config sports
"""

from dataclasses import replace

from training.configs.beauty import CONFIG as BEAUTY

CONFIG = replace(
    BEAUTY,
    name="sports",
    data=replace(BEAUTY.data, source="pack:amazon-sports-2014"),
    codes=replace(BEAUTY.codes, levels=()),
)
