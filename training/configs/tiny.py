"""Does the whole chain run and learn? A smoke run on a generated world of 240 items, 400 users (split by time).

python -m training.train --config tiny
"""

from training.config import Codes, Config, Data, Decoder, Sasrec, Serve, Trunk

CONFIG = Config(
    name="tiny",
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
        dim=32,
        layers=2,
        heads=2,
        dropout=0.2,
        drop_learned=0.1,
        vocabulary=400,
        text_dim=16,
        text_hidden=32,
        text_tokens=32,
        learning_rate=3e-3,
        average=0.99,
        targets_per_step=512,
        buckets=(8,),
        epochs=60,
        validate_every=20,
        validation_users=4000,
    ),
    codes=Codes(levels=(8, 8), iterations=50),
    decoder=Decoder(hidden=32, rank=4, teacher=0.7, noise=0.5, learning_rate=3e-3, average=0.99, batch=256, epochs=6),
    serve=Serve(mode="beam", beams=(4,), leaves=12, alphas=(0.0, 0.1, 0.2, 0.3), exact_below=0),
    sasrec=Sasrec(
        dim=32,
        layers=2,
        heads=2,
        dropout=0.2,
        learning_rate=3e-3,
        average=0.99,
        targets_per_step=512,
        buckets=(8,),
        epochs=60,
    ),
    output=None,
)
