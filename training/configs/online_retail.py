"""Does the order of the models hold under a split by time, with real times and repeats (Online Retail, UCI)?

    python -m training.train --config online_retail

Baskets share one timestamp, so a basket's other items are neither history nor a sequence's order: file order inside it.
"""

from training.config import Codes, Config, Data, Decoder, Sasrec, Serve, Trunk

CONFIG = Config(
    name="online_retail",
    seed=0,
    data=Data(
        source="pack:online-retail-uci",
        split="time",
        validation_days=7,
        test_days=14,
        target_types=("purchase",),
        history_length=50,
    ),
    trunk=Trunk(
        dim=64,
        layers=2,
        heads=2,
        dropout=0.3,
        drop_learned=0.1,
        vocabulary=3000,
        text_dim=64,
        text_hidden=128,
        text_tokens=32,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=2048,
        buckets=(16,),
        epochs=10,
        validate_every=5,
        validation_users=4000,
    ),
    codes=Codes(levels=(24, 24), iterations=50),
    decoder=Decoder(
        hidden=128, rank=16, teacher=0.7, noise=0.5, learning_rate=2e-3, average=0.99, batch=1024, epochs=4
    ),
    serve=Serve(mode="beam", beams=(12,), leaves=64, alphas=(0.0, 0.1, 0.2, 0.3), exact_below=1000),
    sasrec=Sasrec(
        dim=64,
        layers=2,
        heads=2,
        dropout=0.4,
        learning_rate=1e-3,
        average=0.999,
        targets_per_step=2048,
        buckets=(16,),
        epochs=10,
    ),
    output=None,
)
