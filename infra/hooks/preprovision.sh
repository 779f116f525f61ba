#!/bin/sh
# Asks for quotas, builds the worker image and hands its digest to the template.
# An image is named after the content that it is made of: the same content is never built twice.
# Given by azd: AZURE_ENV_NAME, AZURE_LOCATION, AZURE_SUBSCRIPTION_ID and every value of the azd environment.
set -eu

# On an environment's first run azd asks for region and subscription only after this hook, so they must be set before.
: "${AZURE_ENV_NAME:?is not set; run this through azd.}"
: "${AZURE_LOCATION:?is not set; run: azd env set AZURE_LOCATION REGION}"
: "${AZURE_SUBSCRIPTION_ID:?is not set; run: azd env set AZURE_SUBSCRIPTION_ID ID}"

python=${PYTHON:-python3}
wait_s=${FLEETSCORE_RETRY_WAIT_S:-30}
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

# Runs a command; where it fails, its errors are shown with what they mean, and their text stays in $errors.
run_explained() {
  if "$@" 2> "$errors"; then
    cat "$errors" >&2
    return 0
  fi
  cat "$errors" >&2
  "$python" infra/hooks/explain.py "$errors" >&2
  return 1
}

# A budget's start cannot be moved once it exists, so the first month is remembered.
if [ -z "${FLEETSCORE_BUDGET_START:-}" ]; then
  azd env set FLEETSCORE_BUDGET_START "$(date -u +%Y-%m-01)"
fi

if [ "${FLEETSCORE_BATCH_ENABLED:-true}" = "false" ] || [ "${FLEETSCORE_BATCH_PLACEMENT:-auto}" = "inline" ]; then
  "$python" infra/hooks/quotas.py region
  echo "Nothing is offloaded: no worker image, no Batch account and no pool are made."
  exit 0
fi

"$python" infra/locks.py check worker

image_sources="worker_image fleetscore fleets"
# shellcheck disable=SC2086 # the list is meant to be split
files=$(find $image_sources -type f -not -path '*/__pycache__/*' | LC_ALL=C sort)
tag=$({ echo "$files"; echo "$files" | git hash-object --no-filters --stdin-paths; } | git hash-object --stdin | cut -c1-16)

if [ -n "${FLEETSCORE_WORKER_IMAGE:-}" ] && [ "${FLEETSCORE_WORKER_TAG:-}" = "$tag" ]; then
  echo "The worker image is up to date: $FLEETSCORE_WORKER_IMAGE"
  exit 0
fi

"$python" infra/hooks/quotas.py region --offload

echo "Making the registry and the Batch account (the rest follows once the worker image is there)."
tags=${FLEETSCORE_TAGS:-}
[ -n "$tags" ] || tags='{}'
made=$(run_explained az deployment sub create \
  --subscription "$AZURE_SUBSCRIPTION_ID" \
  --name "fleetscore-image-$AZURE_ENV_NAME" \
  --location "$AZURE_LOCATION" \
  --template-file infra/foundation.bicep \
  --parameters "environmentName=$AZURE_ENV_NAME" "location=$AZURE_LOCATION" "tags=$tags" \
    "privateNetwork=${FLEETSCORE_PRIVATE_NETWORK:-false}" openForBuild=true batchAccount=true \
  --query '[properties.outputs.registryName.value, properties.outputs.batchAccountName.value]' --output tsv)
# shellcheck disable=SC2086 # two words
set -- $made
registry=$1
"$python" infra/hooks/quotas.py account "$2" "rg-$AZURE_ENV_NAME"

find_digest() {
  az acr repository show --subscription "$AZURE_SUBSCRIPTION_ID" --name "$registry" \
    --image "$1" --query digest --output tsv 2> /dev/null
}

# The base image NAME in the own registry, by digest: copied once, since anonymous pulls from a public registry are
# limited per address and builds share theirs. Where no source answers, the public name is used as it is.
cache_base() {
  for source in docker.io/library public.ecr.aws/docker/library docker.io/library; do
    digest=$(find_digest "base/$1") || digest=
    if [ -n "$digest" ]; then
      echo "$registry.azurecr.io/base/${1%%:*}@$digest"
      return
    fi
    az acr import --subscription "$AZURE_SUBSCRIPTION_ID" --name "$registry" \
      --source "$source/$1" --image "base/$1" > /dev/null 2> "$errors" || sleep "$wait_s"
  done
  digest=$(find_digest "base/$1") || digest=
  if [ -n "$digest" ]; then echo "$registry.azurecr.io/base/${1%%:*}@$digest"; else echo "docker.io/library/$1"; fi
}

build_in_the_registry() {
  az acr build --subscription "$AZURE_SUBSCRIPTION_ID" --registry "$registry" --image "worker:$tag" \
    --build-arg "PYTHON_BUILD=$build_base" --build-arg "PYTHON_RUN=$run_base" --file worker_image/Dockerfile . 2> "$errors"
}

build_with_docker() {
  image="$registry.azurecr.io/worker:$tag"
  az acr login --subscription "$AZURE_SUBSCRIPTION_ID" --name "$registry"
  docker build --platform linux/amd64 --tag "$image" \
    --build-arg "PYTHON_BUILD=$build_base" --build-arg "PYTHON_RUN=$run_base" --file worker_image/Dockerfile .
  docker push "$image"
}

# Three tries against a registry's limits; a subscription that may not build there builds here, where Docker is.
build() {
  for try in 1 2 3; do
    if build_in_the_registry; then return 0; fi
    cat "$errors" >&2
    if grep -q TasksOperationsNotAllowed "$errors"; then
      if docker info > /dev/null 2>&1; then
        echo "This subscription may not build in the registry; building with Docker on this machine."
        build_with_docker
        return
      fi
      break
    fi
    grep -qi toomanyrequests "$errors" || break
    echo "The base image's registry is at its limit; try $try of 3."
    sleep "$wait_s"
  done
  "$python" infra/hooks/explain.py "$errors" >&2
  return 1
}

digest=$(find_digest "worker:$tag") || digest=
if [ -z "$digest" ]; then
  build_base=$(cache_base "$(sed -n 's/^ARG PYTHON_BUILD=//p' worker_image/Dockerfile)")
  run_base=$(cache_base "$(sed -n 's/^ARG PYTHON_RUN=//p' worker_image/Dockerfile)")
  echo "Building worker:$tag in $registry from $build_base and $run_base."
  build
  digest=$(find_digest "worker:$tag") || digest=
  if [ -z "$digest" ]; then
    echo "worker:$tag was built, but $registry gives no digest for it; run the same command again." >&2
    exit 1
  fi
fi

azd env set FLEETSCORE_WORKER_IMAGE "$registry.azurecr.io/worker@$digest"
azd env set FLEETSCORE_WORKER_TAG "$tag"
