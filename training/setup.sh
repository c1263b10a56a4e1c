#!/bin/sh
# Makes .venv at the repository root with the pinned requirements of the trainer. Takes $EDGEWISE_PYTHON, else the
# first interpreter of python3.13, 3.12, 3.11, python3 that runs (a pyenv shim of an absent version does not) and is
# 3.11 or later; stamps .venv/.stamp with the sha256 of the requirements, so a second run has nothing to do.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
requirements="$root/training/requirements.txt"
venv="$root/.venv"

usable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 1)' >/dev/null 2>&1
}

python=""
for candidate in ${EDGEWISE_PYTHON:+"$EDGEWISE_PYTHON"} python3.13 python3.12 python3.11 python3; do
  if usable "$candidate"; then python=$candidate; break; fi
  if [ "$candidate" = "${EDGEWISE_PYTHON:-}" ]; then
    echo "training:setup: EDGEWISE_PYTHON=$candidate is not a working Python of 3.11 or later" >&2; exit 1
  fi
done
if [ -z "$python" ]; then
  echo "training:setup: no Python of 3.11 or later with venv; install one or set EDGEWISE_PYTHON" >&2; exit 1
fi

stamp=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$requirements")
if [ -f "$venv/.stamp" ] && [ "$(cat "$venv/.stamp")" = "$stamp" ]; then
  echo "training:setup: .venv is up to date"; exit 0
fi

echo "training:setup: $("$python" --version) -> .venv"
rm -f "$venv/.stamp"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
printf '%s' "$stamp" > "$venv/.stamp"
echo "training:setup: done"
