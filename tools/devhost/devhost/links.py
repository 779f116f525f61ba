"""The URLs of the management API, as the durable client and the check-status answers carry them."""

import json
from dataclasses import dataclass
from urllib.parse import quote

_CHECK_STATUS = (
    "statusQueryGetUri",
    "sendEventPostUri",
    "terminatePostUri",
    "purgeHistoryDeleteUri",
    "restartPostUri",
    "suspendPostUri",
    "resumePostUri",
)


@dataclass(frozen=True, slots=True)
class Links:
    """Makes URLs under `base`, the public address of the management API, without a trailing slash."""

    base: str
    hub: str
    key: str

    @property
    def _query(self) -> str:
        return f"taskHub={self.hub}&connection=Storage&code={self.key}"

    def management(self, instance_id: str) -> dict[str, str]:
        """Return all URLs for one instance, in the client's own order; the id is escaped."""
        at = f"{self.base}/instances/{quote(instance_id, safe=':')}"
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{at}?{self._query}",
            "sendEventPostUri": f"{at}/raiseEvent/{{eventName}}?{self._query}",
            "terminatePostUri": f"{at}/terminate?reason={{text}}&{self._query}",
            "rewindPostUri": f"{at}/rewind?reason={{text}}&{self._query}",
            "purgeHistoryDeleteUri": f"{at}?{self._query}",
            "restartPostUri": f"{at}/restart?{self._query}",
            "suspendPostUri": f"{at}/suspend?reason={{text}}&{self._query}",
            "resumePostUri": f"{at}/resume?reason={{text}}&{self._query}",
        }

    def check_status(self, instance_id: str) -> dict[str, str]:
        """Return the body of a 202 answer to a start: the id and where to follow it."""
        links = self.management(instance_id)
        return {"id": instance_id} | {name: links[name] for name in _CHECK_STATUS}

    def client_json(self, rpc_url: str) -> str:
        """Return the JSON text that a durable client binding receives; `rpc_url` ends in a slash."""
        start = f"{self.base}/orchestrators/{{functionName}}[/{{instanceId}}]"
        wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
        return json.dumps(
            {
                "taskHubName": self.hub,
                "connectionName": None,
                "creationUrls": {
                    "createNewInstancePostUri": f"{start}?code={self.key}",
                    "createAndWaitOnNewInstancePostUri": f"{start}?{wait}&code={self.key}",
                },
                "managementUrls": self.management("INSTANCEID"),
                "baseUrl": self.base,
                "requiredQueryStringParameters": f"code={self.key}",
                "rpcBaseUrl": rpc_url,
                "httpBaseUrl": None,
            }
        )
