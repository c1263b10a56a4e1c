"""A tiny generated world for tests and the smoke run: topics with their own words, habits with an order inside a topic."""

from __future__ import annotations

import numpy as np

from training.data import DAY, Dataset, build, item_text

START = 1_700_000_000.0


def world(name: str, items: int = 240, users: int = 400, topics: int = 12, days: int = 60, seed: int = 0) -> Dataset:
    """Users keep to two topics and mostly take a topic's next item in a hidden order, so a sequence model has a signal
    that popularity and text alone lack."""
    rng = np.random.default_rng([seed, 1])
    words = [[f"{chr(97 + t)}{chr(97 + k)}{'lora'[t % 4]}{'mint'[k % 4]}" for k in range(10)] for t in range(topics)]
    rows = []
    for row in range(items):
        topic = row % topics
        title = " ".join(rng.choice(words[topic], 3))
        rows.append((f"item-{row}", item_text(title, f"maker {rng.integers(20)}", [f"topic {topic}"], "")))
    follow = [rng.permutation(np.arange(topic, items, topics)) for topic in range(topics)]
    events = []
    for user in range(users):
        likes = rng.choice(topics, 2, replace=False)
        place = {int(t): int(rng.integers(len(follow[t]))) for t in likes}
        moments = np.sort(rng.uniform(0, days, rng.integers(6, 20)))
        for moment in moments:
            topic = int(likes[0] if rng.random() < 0.7 else likes[1])
            jump = 1 if rng.random() < 0.8 else int(rng.integers(len(follow[topic])))
            place[topic] = (place[topic] + jump) % len(follow[topic])
            events.append(
                (f"user-{user}", f"item-{follow[topic][place[topic]]}", "purchase", START + float(moment) * DAY)
            )
    return build(name, rows, events)
