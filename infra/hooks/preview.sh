#!/bin/sh
# Says what a deployment would change, and changes nothing: a what-if with the parameters that azd would give
# and the image that is deployed now.
set -eu

: "${AZURE_ENV_NAME:?Name the azd environment.}"
: "${AZURE_LOCATION:?Name the region.}"

group="rg-$AZURE_ENV_NAME"
app=$(az functionapp list --resource-group "$group" --query '[0].name' --output tsv 2>/dev/null || true)
if [ -n "$app" ]; then
  FLEETSCORE_WORKER_IMAGE=$(az functionapp config appsettings list --resource-group "$group" --name "$app" \
    --query "[?name=='FLEETSCORE_BATCH_IMAGE'].value | [0]" --output tsv)
  export FLEETSCORE_WORKER_IMAGE
fi

parameters=$(mktemp)
trap 'rm -f "$parameters"' EXIT
python3 infra/hooks/preview.py > "$parameters"
az deployment sub what-if --location "$AZURE_LOCATION" --template-file infra/main.bicep --parameters "@$parameters"
