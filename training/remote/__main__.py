"""Takes training jobs of a Worker, one after another. The key comes from the environment and is never printed.

    EDGEWISE_TRAINER_KEY=ew_sk_... npm run trainer -- --url https://edge.example
    EDGEWISE_TRAINER_KEY=ew_sk_... npm run trainer -- --url http://127.0.0.1:8787 --once

Ends with 0: handed in, or nothing waited (--once); 1: this machine can't (disk, memory); 2: called wrongly; 3: the job failed; 4: it
was cancelled; 5: its lease was lost; 6: the Worker does not answer; 7: the Worker refuses; 130 or 143: stopped by a signal. Without
--once only 1, 2, 7 and signals end it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from training.config import ConfigError
from training.data import CACHE, DataError
from training.remote.client import Client, Corrupt, Refused, RemoteError
from training.remote.lease import CancelRequested, LeaseEnded
from training.remote.work import MACHINE_FAULTS, Claim, Options, Stopped, Work, claim, left_behind, remember

DONE, BROKEN, USAGE, FAILED, CANCELLED, LOST, UNREACHABLE, REFUSED = range(8)
KEYS = ("EDGEWISE_TRAINER_KEY", "EDGEWISE_KEY")


def say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} trainer {line}", flush=True)


def complain(error: BaseException | str) -> None:
    print(f"trainer: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
    raise Stopped(number)


@contextmanager
def _home(cache: Path, url: str) -> Iterator[Path]:
    """The folder of a Worker, for this process alone. @raise RemoteError"""
    home = cache / "remote" / hashlib.sha256(url.encode()).hexdigest()[:12]
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RemoteError(f"another trainer works in {home}; give this one its own --cache") from None
        yield home
    finally:
        os.close(lock)


def _next(client: Client, options: argparse.Namespace, home: Path) -> Claim | None:
    taken = left_behind(client, home)
    if taken is not None:
        say(f"goes on with {taken.job['id']}, whose lease is still good")
        return taken
    taken = claim(client, options.name, options.job)
    if taken is not None:
        reasons = "; ".join(request["reason"] for request in taken.job["requests"][:3])
        say(f"{taken.job['id']} claimed, attempt {taken.job['attempts']}: {reasons}")
        remember(home, taken)
    return taken


def _turn(client: Client, options: argparse.Namespace, home: Path) -> int | None:
    """One job: its exit status, None where nothing waits."""
    try:
        taken = _next(client, options, home)
        if taken is None:
            return None
        work = Options(home, options.config, options.name, options.checkpoint_minutes * 60)
        model = Work(client, work, taken, say).do()
        say(f"{taken.job['id']} completed with {model}")
        return DONE
    except CancelRequested as error:
        complain(error)
        return CANCELLED
    except LeaseEnded as error:
        complain(error)
        return LOST
    except Refused as error:
        complain(error)
        return REFUSED if error.status in (401, 403) else FAILED
    except Corrupt as error:
        complain(error)
        return FAILED
    except RemoteError as error:
        complain(error)
        return UNREACHABLE
    except (ConfigError, DataError) as error:
        complain(error)
        return FAILED
    except MACHINE_FAULTS as error:
        complain(f"this machine can't: {type(error).__name__}: {error}")
        return BROKEN
    except Exception as error:
        traceback.print_exc()
        complain(f"{type(error).__name__}: {error}")
        return FAILED


def _serve(client: Client, options: argparse.Namespace, home: Path) -> int:
    until = time.monotonic() + options.wait_minutes * 60
    while True:
        status = _turn(client, options, home)
        if status in (BROKEN, REFUSED) or (options.once and status is not None):
            return status
        if options.once and time.monotonic() >= until:
            say("nothing waits")
            return DONE
        if status != DONE:
            time.sleep(options.poll_seconds * random.uniform(0.5, 1.5))  # trainers that began together drift apart


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.remote", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--url", default=os.environ.get("EDGEWISE_URL"), help="the Worker; EDGEWISE_URL by default")
    add("--once", action="store_true", help="end after one job, or when nothing waits")
    add("--wait-minutes", type=float, default=0.0, help="with --once: how long to wait for a job, 0 by default")
    add(
        "--job",
        default="next",
        help="id of the one job to take (implies --once); the one that waits longest by default",
    )
    add(
        "--config",
        default="shop",
        help="a file of training/configs without its suffix; shop by default, scaled by the log",
    )
    add(
        "--name",
        default=socket.gethostname()[:128] or "trainer",
        help="what people see in the job; this host's by default",
    )
    add("--cache", type=Path, default=CACHE, help="folder of mirror, jobs and models; .cache by default")
    add("--poll-seconds", type=float, default=30.0, help="mean pause while nothing waits, 30 by default")
    add("--checkpoint-minutes", type=float, default=10.0, help="between checkpoints at the Worker, 10 by default")
    options = parser.parse_args(arguments)
    if options.url is None:
        parser.error("give --url or EDGEWISE_URL")
    options.once |= options.job != "next"
    return options


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    keys = [os.environ.pop(name, "") for name in KEYS]  # what this process starts needs none
    key = next(filter(None, keys), None)
    if key is None:
        complain(f"no key: set {' or '.join(KEYS)} to a secret key with the scope trainer")
        return USAGE
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        client = Client(options.url, key)
        with _home(options.cache.resolve(), client.url) as home:
            return _serve(client, options, home)
    except RemoteError as error:
        complain(error)
        return USAGE
    except Stopped as stopped:
        complain("stopped by a signal; a job in hand goes on with the next trainer")
        return 128 + int(stopped.args[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
