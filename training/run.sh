#!/bin/sh
# Runs the trainer from the repository root in its own environment: bash training/run.sh --config larder [--stage trunk]
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
if [ ! -x "$root/.venv/bin/python" ]; then
  echo "training: .venv is absent; run: npm run training:setup" >&2; exit 1
fi
cd "$root"
exec "$root/.venv/bin/python" -m training.train "$@"
