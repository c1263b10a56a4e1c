"""Does the served generator beat a properly trained SASRec on Amazon Beauty (leave one out, all items ranked)?

python -m training.train --config beauty
"""

from training.config import Codes, Config, Data, Decoder, Sasrec, Serve, Trunk

CONFIG = Config(
    name="beauty",
    seed=0,
    data=Data(
        source="pack:amazon-beauty-2014",
        split="leave-one-out",
        validation_days=0,
        test_days=0,
        target_types=("purchase",),
        history_length=50,
    ),
    trunk=Trunk(
        dim=128,
        layers=2,
        heads=2,
        dropout=0.5,
        drop_learned=0.1,
        vocabulary=6000,
        text_dim=96,
        text_hidden=256,
        text_tokens=64,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=1792,
        buckets=(2, 4, 8, 16, 32),
        epochs=35,
        validate_every=5,
        validation_users=4000,
    ),
    codes=Codes(levels=(64, 64), iterations=50, unseen_from_text=True),
    decoder=Decoder(
        hidden=256, rank=32, teacher=0.7, noise=0.5, learning_rate=1e-3, average=0.999, batch=1024, epochs=6
    ),
    serve=Serve(mode="beam", beams=(20,), leaves=128, alphas=(0.0, 0.1, 0.2, 0.3), exact_below=1000),
    sasrec=Sasrec(
        dim=64,
        layers=2,
        heads=2,
        dropout=0.4,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=1792,
        buckets=(2, 4, 8, 16, 32),
        epochs=35,
    ),
    output=None,
)
