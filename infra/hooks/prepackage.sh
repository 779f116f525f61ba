#!/bin/sh
# Builds the package that is deployed, for the version of Python that the app runs on.
# Given by azd: every value of the azd environment, FLEETSCORE_PYTHON_VERSION and FLEETSCORE_TELEMETRY among them.
set -eu
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" infra/package.py
