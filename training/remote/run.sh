#!/bin/sh
# Runs the trainer as a worker from the repository root: bash training/remote/run.sh --url http://127.0.0.1:8787 [--once]
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
if [ ! -x "$root/.venv/bin/python" ]; then
  echo "trainer: .venv is absent; run: npm run training:setup" >&2; exit 2
fi
cd "$root"
exec "$root/.venv/bin/python" -m training.remote "$@"
