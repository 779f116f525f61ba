#!/bin/sh
# Forgets what is gone, so that the next `azd up` of this environment builds its image anew.
set -eu

azd env set FLEETSCORE_WORKER_IMAGE ""
azd env set FLEETSCORE_WORKER_TAG ""
azd env set FLEETSCORE_BUDGET_START ""
