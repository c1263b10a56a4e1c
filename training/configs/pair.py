"""Do two processes train what one does? One layer and one batch shape, so that a start costs little; the trunk only.

python -m training.train --config pair --stage trunk --processes 2
"""

from dataclasses import replace

from training.configs.tiny import CONFIG as TINY

SMALL = {"dim": 16, "layers": 1, "targets_per_step": 511, "buckets": ()}

CONFIG = replace(
    TINY,
    name="pair",
    trunk=replace(
        TINY.trunk,
        **SMALL,
        text_dim=8,
        text_hidden=16,
        text_tokens=16,
        epochs=10,
        validate_every=5,
        validation_users=500,
    ),
    decoder=replace(TINY.decoder, epochs=2),
    sasrec=replace(TINY.sasrec, **SMALL, epochs=4),
)
