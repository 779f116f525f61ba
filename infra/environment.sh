#!/bin/sh
# Makes the virtual environment .venv-infra, which `make infra-check` and `make lock` use, or brings it up to date.
# Its checkers need many packages that nothing else needs.
set -eu
cd "$(dirname "$0")/.."

wanted=$(git hash-object requirements-infra.txt)
if [ "$(cat .venv-infra/.installed 2>/dev/null || true)" != "$wanted" ]; then
  "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "The checks need Python 3.11 or later; name one: make infra-check PYTHON=python3.12" >&2
    exit 1
  }
  "${PYTHON:-python3}" -m venv .venv-infra
  .venv-infra/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-infra.txt
  echo "$wanted" > .venv-infra/.installed
fi
