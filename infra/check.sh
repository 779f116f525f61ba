#!/bin/sh
# Checks the deployment offline; `make infra-check` runs this. Options go to pytest.
set -eu
cd "$(dirname "$0")/.."

infra/environment.sh
exec .venv-infra/bin/python -m pytest tests/infra "$@"
