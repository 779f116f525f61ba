#!/bin/sh
# Checks the deployment offline; `make infra-check` runs this. Options go to pytest.
# The checkers need many packages that nothing else needs, so they live in a virtual environment of their own.
set -eu
cd "$(dirname "$0")/.."

python=.venv-infra/bin/python
wanted=$(git hash-object requirements-infra.txt)
if [ "$(cat .venv-infra/.installed 2>/dev/null || true)" != "$wanted" ]; then
  "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "The checks need Python 3.11 or later; name one: make infra-check PYTHON=python3.12" >&2
    exit 1
  }
  "${PYTHON:-python3}" -m venv .venv-infra
  $python -m pip install --quiet --disable-pip-version-check -r requirements-infra.txt
  echo "$wanted" > .venv-infra/.installed
fi

exec $python -m pytest tests/infra "$@"
