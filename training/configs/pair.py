"""Do two processes train what one does? One layer and one batch shape, so that a start costs little; the trunk only.

python -m training.train --config pair --stage trunk --processes 2
"""

from training.config import Codes, Config, Data, Decoder, Sasrec, Serve, Trunk

CONFIG = Config(
    name="pair",
    seed=0,
    data=Data(
        source="synthetic:0",
        split="time",
        validation_days=7,
        test_days=7,
        target_types=("purchase",),
        history_length=16,
    ),
    trunk=Trunk(
        dim=16,
        layers=1,
        heads=2,
        dropout=0.2,
        drop_learned=0.1,
        vocabulary=400,
        text_dim=8,
        text_hidden=16,
        text_tokens=16,
        learning_rate=3e-3,
        average=0.99,
        targets_per_step=511,
        buckets=(),
        epochs=10,
        validate_every=5,
        validation_users=500,
    ),
    codes=Codes(levels=(8, 8), iterations=50),
    decoder=Decoder(hidden=32, rank=4, teacher=0.7, noise=0.5, learning_rate=3e-3, average=0.99, batch=256, epochs=2),
    serve=Serve(mode="beam", beams=(4,), leaves=12, alphas=(0.0, 0.1), exact_below=0),
    sasrec=Sasrec(
        dim=16,
        layers=1,
        heads=2,
        dropout=0.2,
        learning_rate=3e-3,
        average=0.99,
        targets_per_step=511,
        buckets=(),
        epochs=4,
    ),
    output=None,
)
