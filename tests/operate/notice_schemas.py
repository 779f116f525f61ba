"""JSON schemas of what receivers take, written from their published documentation.

Slack: docs.slack.dev/reference/block-kit (blocks, text object, button) and the guide to incoming webhooks. Teams:
the guide to workflow webhooks and adaptivecards.io/explorer. CloudEvents: spec.md 1.0.2 and its JSON format.
"""

from typing import Any


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _text(longest: int) -> dict[str, Any]:
    """A plain_text object with at most that many characters, and at least one."""
    return _object(
        {"type": {"const": "plain_text"}, "text": {"type": "string", "minLength": 1, "maxLength": longest}},
        emoji={"type": "boolean"},
    )


_ADDRESS = {"type": "string", "pattern": "^https?://", "maxLength": 3000}
_BUTTON = _object({"type": {"const": "button"}, "text": _text(75), "url": _ADDRESS})
SLACK = _object(
    {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    _object({"type": {"const": "header"}, "text": _text(150)}),
                    _object({"type": {"const": "section"}, "text": _text(3000)}),
                    _object(
                        {
                            "type": {"const": "context"},
                            "elements": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 10,
                                "items": _text(3000),
                            },
                        }
                    ),
                    _object(
                        {
                            "type": {"const": "actions"},
                            "elements": {"type": "array", "minItems": 1, "maxItems": 25, "items": _BUTTON},
                        }
                    ),
                ]
            },
        },
    }
)
_RUN = _object(
    {"type": {"const": "TextRun"}, "text": {"type": "string", "minLength": 1}},
    weight={"enum": ["Default", "Lighter", "Bolder"]},
    size={"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
    isSubtle={"type": "boolean"},
)
_CARD = _object(
    {
        "type": {"const": "AdaptiveCard"},
        "version": {"enum": ["1.2", "1.3", "1.4", "1.5"]},  # RichTextBlock came with 1.2; Teams takes 1.5
        "body": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "type": {"const": "RichTextBlock"},
                    "inlines": {"type": "array", "minItems": 1, "items": _RUN},
                }
            ),
        },
    },
    **{"$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"}},
    actions={
        "type": "array",
        "maxItems": 6,
        "items": _object({"type": {"const": "Action.OpenUrl"}, "title": {"type": "string"}, "url": _ADDRESS}),
    },
)
TEAMS = _object(
    {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": ["string", "null"]},
                    "content": _CARD,
                }
            ),
        },
    }
)
CLOUD_EVENT = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
        "datacontenttype": {"type": "string"},
        "data": {"type": "object"},
    },
    "additionalProperties": False,
}
