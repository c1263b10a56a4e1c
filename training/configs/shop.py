"""What `npm run trainer` makes of a shop's own log, whatever its size: width, epochs and split follow the number of events.

`CONFIG` is the middle of three sizes, Larder's; `scaled` gives the others. Widths are those of `tiny` (32), `larder` (64) and
`beauty` (128). Epochs hold events seen in training about constant: Larder learned from 14 x 200 thousand.
"""

from __future__ import annotations

from dataclasses import replace

from training.config import Codes, Config, Data, Decoder, Sasrec, Serve, Trunk
from training.data import POSITIVE_TYPES
from training.remote.source import DECISIONS, Facts

FEW, MANY = 20_000, 1_000_000  # events
ENOUGH_DECISIONS = 2_000  # below, views and clicks are targets too
TEST_SHARE, LONGEST_TEST_DAYS = 0.15, 14.0  # of the days that the log spans

CONFIG = Config(
    name="shop",
    seed=0,
    data=Data(
        source="folder:.cache/shop",
        split="time",
        validation_days=5,
        test_days=14,
        target_types=DECISIONS,
        history_length=50,
    ),
    trunk=Trunk(
        dim=64,
        layers=2,
        heads=2,
        dropout=0.3,
        drop_learned=0.1,
        vocabulary=4000,
        text_dim=64,
        text_hidden=128,
        text_tokens=64,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=2048,
        buckets=(),
        epochs=14,
        validate_every=7,
        validation_users=3000,
    ),
    codes=Codes(levels=(), iterations=50, unseen_from_text=True),
    decoder=Decoder(
        hidden=128, rank=16, teacher=0.7, noise=0.5, learning_rate=2e-3, average=0.99, batch=1024, epochs=4
    ),
    serve=Serve(mode="beam", beams=(12,), leaves=48, alphas=(0.0, 0.1, 0.2, 0.3), exact_below=1000),
    sasrec=Sasrec(
        dim=64,
        layers=2,
        heads=2,
        dropout=0.4,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=2048,
        buckets=(),
        epochs=0,
    ),
    output=None,
)


def _between(low: int, value: float, high: int) -> int:
    return max(low, min(high, round(value)))


def scaled(facts: Facts) -> Config:
    """The configuration for a log of so many events."""
    test = min(LONGEST_TEST_DAYS, TEST_SHARE * facts.days)
    kinds = DECISIONS if facts.decisions >= ENOUGH_DECISIONS else POSITIVE_TYPES
    data = replace(CONFIG.data, test_days=round(test, 6), validation_days=round(test / 2, 6), target_types=kinds)
    trunk, decoder = CONFIG.trunk, CONFIG.decoder
    if facts.events < FEW:
        epochs = _between(20, 400_000 / facts.events, 60)
        trunk = replace(
            trunk,
            dim=32,
            dropout=0.2,
            vocabulary=1000,
            text_dim=32,
            text_hidden=64,
            learning_rate=3e-3,
            average=0.99,
            targets_per_step=512,
            epochs=epochs,
            validate_every=max(1, epochs // 3),
        )
        decoder = replace(decoder, hidden=32, rank=4, learning_rate=3e-3, batch=256, epochs=6)
    elif facts.events < MANY:
        epochs = _between(6, 2_800_000 / facts.events, 40)
        trunk = replace(trunk, epochs=epochs, validate_every=max(1, epochs // 3))
    else:
        epochs = _between(3, 12_000_000 / facts.events, 12)
        trunk = replace(
            trunk,
            dim=128,
            vocabulary=16_000,
            text_dim=96,
            text_hidden=256,
            targets_per_step=8192,
            epochs=epochs,
            validate_every=max(1, epochs // 3),
        )
        decoder = replace(decoder, hidden=256, rank=32, learning_rate=1e-3, average=0.999, epochs=3)
    return replace(CONFIG, data=data, trunk=trunk, decoder=decoder)
