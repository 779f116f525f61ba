"""A home for clients of Azure Anomaly Detector 1.1: its univariate endpoints, with a key of their own.

Their clients send the key as Ocp-Apim-Subscription-Key and no function key, so the app checks it itself.
Without the setting FLEETSCORE_ANOMALY_DETECTOR_KEY nobody has a key, and every call is refused.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleetscore.errors import InputError
from triggers.http_answers import answer_error, answer_json, run_in_thread

KEY_SETTING = "FLEETSCORE_ANOMALY_DETECTOR_KEY"
KEY_HEADER = "Ocp-Apim-Subscription-Key"
KEY_LENGTH_MIN = 16

blueprint = df.Blueprint()


@blueprint.route(
    route="anomalydetector/v1.1/timeseries/entire/detect",
    methods=["POST"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def detect_entire_series(req: func.HttpRequest) -> func.HttpResponse:
    """Judge every point of a series."""
    from fleetscore.operations.anomaly_detector import detect_entire

    return await run_in_thread(_answer, req, detect_entire)


@blueprint.route(
    route="anomalydetector/v1.1/timeseries/last/detect", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS
)
async def detect_last_point(req: func.HttpRequest) -> func.HttpResponse:
    """Judge the newest point of a series."""
    from fleetscore.operations.anomaly_detector import detect_last

    return await run_in_thread(_answer, req, detect_last)


@blueprint.route(
    route="anomalydetector/v1.1/timeseries/changepoint/detect",
    methods=["POST"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def detect_change_point(req: func.HttpRequest) -> func.HttpResponse:
    """Find where the level of a series changes."""
    from fleetscore.operations.anomaly_detector import detect_change_points

    return await run_in_thread(_answer, req, detect_change_points)


def _answer(req: func.HttpRequest, detect: Callable[[bytes], dict[str, Any]]) -> func.HttpResponse:
    if not is_key(req.headers.get(KEY_HEADER.lower(), "")):
        message = f"Access denied: {KEY_HEADER} is missing or is not the key of {KEY_SETTING}."
        return answer_json({"error": {"code": "401", "message": message}}, 401)
    try:
        return answer_json(detect(req.get_body()))
    except InputError as error:
        return answer_json({"code": error.code, "message": error.message}, 400)
    except Exception as error:
        return answer_error(error)


def is_key(given: str) -> bool:
    """Whether the text is the key of the setting, compared in constant time; never without a setting of 16
    characters or more.
    """
    key = os.environ.get(KEY_SETTING, "")
    if len(key) < KEY_LENGTH_MIN:
        return False
    return hmac.compare_digest(key.encode(), given.encode("utf-8", "replace"))
