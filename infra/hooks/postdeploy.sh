#!/bin/sh
# Makes sure that Azure knows the app's functions, and asks the health endpoint from outside from then on.
# After a deployment Flex Consumption may go on with the functions of before, or with none: no timer ticks, nothing says so.
# Syncing triggers through the resource manager is what cures it; the hook repeats it until every function is listed.
set -eu

: "${AZURE_SUBSCRIPTION_ID:?is not set; run this through azd.}"
: "${AZURE_RESOURCE_GROUP:?is not set; run: azd provision}"
: "${FLEETSCORE_APP_NAME:?is not set; run: azd provision}"

python=${PYTHON:-python3}
wait_s=${FLEETSCORE_RETRY_WAIT_S:-15}
app="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.Web/sites/$FLEETSCORE_APP_NAME"
expected=$("$python" infra/hooks/functions.py)

missing=$expected
for _ in $(seq 20); do
  az rest --method post --url "$app/syncfunctiontriggers?api-version=2024-04-01" > /dev/null || true
  listed=$(az functionapp function list --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
    --name "$FLEETSCORE_APP_NAME" --query '[].name' --output tsv | sed 's,.*/,,') || listed=
  missing=
  for name in $expected; do
    echo "$listed" | grep -qx "$name" || missing="$missing $name"
  done
  [ -n "$missing" ] || break
  sleep "$wait_s"
done

if [ -n "$missing" ]; then
  echo "Azure does not list these functions of the app:$missing" >&2
  echo "No timer of them ticks, and no request reaches them. The app may not have loaded: look at the exceptions in" >&2
  echo "Application Insights, or run: az webapp log tail --resource-group $AZURE_RESOURCE_GROUP --name $FLEETSCORE_APP_NAME" >&2
  echo "Then: azd deploy" >&2
  exit 1
fi
echo "Azure lists all $(echo "$expected" | wc -l | tr -d ' ') functions of the app."

health=$("$python" infra/hooks/functions.py --route health)
if [ -z "$health" ] || [ "${FLEETSCORE_PRIVATE_NETWORK:-false}" = "true" ] || [ "${FLEETSCORE_AVAILABILITY_TEST:-true}" = "false" ]; then
  echo "No availability test is made."
  exit 0
fi

# The key opens this one function, is made anew at each deployment and is in no setting, file or output.
key=$(az functionapp function keys set --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name "$FLEETSCORE_APP_NAME" --function-name "$health" --key-name availability --query value --output tsv)
umask 077
parameters=$(mktemp)
trap 'rm -f "$parameters"' EXIT
HEALTH_KEY="$key" "$python" infra/hooks/availability.py > "$parameters"
az deployment group create --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" \
  --name fleetscore-availability --template-file infra/availability.bicep --parameters "@$parameters" --output none
echo "The health endpoint is asked every 15 minutes from two places."
