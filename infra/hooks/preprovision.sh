#!/bin/sh
# Builds the worker image in the registry (no local Docker) and hands its digest to the template.
# An image is named after the content that it is made of: the same content is never built twice.
# Given by azd: AZURE_ENV_NAME, AZURE_LOCATION, AZURE_SUBSCRIPTION_ID and every value of the azd environment.
set -eu

# On an environment's first run azd asks for region and subscription only after this hook, so they must be set before.
: "${AZURE_ENV_NAME:?is not set; run this through azd.}"
: "${AZURE_LOCATION:?is not set; run: azd env set AZURE_LOCATION REGION}"
: "${AZURE_SUBSCRIPTION_ID:?is not set; run: azd env set AZURE_SUBSCRIPTION_ID ID}"

# A budget's start cannot be moved once it exists, so the first month is remembered.
if [ -z "${FLEETSCORE_BUDGET_START:-}" ]; then
  azd env set FLEETSCORE_BUDGET_START "$(date -u +%Y-%m-01)"
fi

if [ "${FLEETSCORE_BATCH_ENABLED:-true}" = "false" ]; then
  echo "Batch is off: no worker image is needed."
  exit 0
fi

image_sources="worker_image fleetscore requirements.txt pyproject.toml"
# shellcheck disable=SC2086 # the list is meant to be split
files=$(find $image_sources -type f -not -path '*/__pycache__/*' | LC_ALL=C sort)
tag=$({ echo "$files"; echo "$files" | git hash-object --no-filters --stdin-paths; } | git hash-object --stdin | cut -c1-16)

if [ -n "${FLEETSCORE_WORKER_IMAGE:-}" ] && [ "${FLEETSCORE_WORKER_TAG:-}" = "$tag" ]; then
  echo "The worker image is up to date: $FLEETSCORE_WORKER_IMAGE"
  exit 0
fi

echo "Making the registry (the rest follows once the worker image is there)."
registry=$(az deployment sub create \
  --subscription "$AZURE_SUBSCRIPTION_ID" \
  --name "fleetscore-image-$AZURE_ENV_NAME" \
  --location "$AZURE_LOCATION" \
  --template-file infra/foundation.bicep \
  --parameters "environmentName=$AZURE_ENV_NAME" "location=$AZURE_LOCATION" \
    "privateNetwork=${FLEETSCORE_PRIVATE_NETWORK:-false}" openForBuild=true \
  --query properties.outputs.registryName.value --output tsv)

find_digest() {
  az acr repository show --subscription "$AZURE_SUBSCRIPTION_ID" --name "$registry" \
    --image "worker:$tag" --query digest --output tsv
}

digest=$(find_digest 2>/dev/null || true)
if [ -z "$digest" ]; then
  echo "Building worker:$tag in $registry."
  az acr build --subscription "$AZURE_SUBSCRIPTION_ID" --registry "$registry" \
    --image "worker:$tag" --file worker_image/Dockerfile .
  digest=$(find_digest)
fi

azd env set FLEETSCORE_WORKER_IMAGE "$registry.azurecr.io/worker@$digest"
azd env set FLEETSCORE_WORKER_TAG "$tag"
