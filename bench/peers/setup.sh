#!/bin/sh
# Makes .cache/peers/venv with what bench/peers.ts compares with. On Linux torch's wheel brings CUDA libraries along: about 6 GB.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
venv="$root/.cache/peers/venv"
requirements="$root/bench/peers/requirements.txt"

python=${EDGEWISE_PYTHON:-python3}
"$python" -c 'import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 1)' || {
  echo "bench:peers:setup: $python is not a Python of 3.11 or later; set EDGEWISE_PYTHON" >&2; exit 1
}
if [ -f "$venv/requirements.txt" ] && cmp -s "$requirements" "$venv/requirements.txt"; then
  echo "bench:peers:setup: .cache/peers/venv is up to date"; exit 0
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
cp "$requirements" "$venv/requirements.txt"
echo "bench:peers:setup: done"
