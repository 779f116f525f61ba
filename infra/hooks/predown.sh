#!/bin/sh
# Stops the app before everything is deleted, so that no timer starts a run meanwhile, and says what will be gone.
# Nothing here may stand in the way of `azd down`: what fails is said, and the deletion goes on.
set -u

echo "The whole resource group goes: input, models, results, run records and the registry with its images."
echo "What must stay is to be copied first, for example: azcopy copy '${FLEETSCORE_STORE:-<store>}/results' DESTINATION --recursive"

if [ -n "${FLEETSCORE_APP_NAME:-}" ] && [ -n "${AZURE_RESOURCE_GROUP:-}" ]; then
  az functionapp stop --subscription "${AZURE_SUBSCRIPTION_ID:-}" \
    --resource-group "$AZURE_RESOURCE_GROUP" --name "$FLEETSCORE_APP_NAME" ||
    echo "The app could not be stopped; a timer may start a run until it is deleted. The deletion goes on."
fi
exit 0
