#!/bin/sh
# Says what a deployment would change, and changes nothing: a what-if with the parameters that azd would give
# and the image of the newest deployment of this environment. Needs to read and to ask, not to write (preview_role.json).
set -eu

: "${AZURE_ENV_NAME:?Name the azd environment.}"
: "${AZURE_LOCATION:?Name the region.}"

newest="sort_by([?tags.\"azd-env-name\"=='$AZURE_ENV_NAME' && properties.parameters.workerImage], &properties.timestamp)[-1]"
FLEETSCORE_WORKER_IMAGE=$(az deployment sub list --query "$newest.properties.parameters.workerImage.value" --output tsv)
export FLEETSCORE_WORKER_IMAGE

parameters=$(mktemp)
trap 'rm -f "$parameters"' EXIT
python3 infra/hooks/preview.py > "$parameters"
az deployment sub what-if --location "$AZURE_LOCATION" --validation-level ProviderNoRbac \
  --template-file infra/main.bicep --parameters "@$parameters"
