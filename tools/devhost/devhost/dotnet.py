"""Exceptions as the Durable extension writes them into histories: .NET's, as JSON text."""

from devhost.json_text import write_json

_WORKER_EXIT = (
    "Microsoft.Azure.WebJobs.Script.Workers.WorkerProcessExitException, Microsoft.Azure.WebJobs.Script"
)
_RPC = "Microsoft.Azure.WebJobs.Script.Workers.Rpc.RpcException, Microsoft.Azure.WebJobs.Script.Grpc"
_KILLED = 137


def activity_exception(message: str, trace: str) -> str:
    """Return what the extension stores as the details of an activity whose function raised."""
    inner = {
        "$type": _RPC,
        "Message": f"Result: Failure\nException: {message}\nStack: {trace}",
        "Data": {"$type": "System.Collections.ListDictionaryInternal, System.Private.CoreLib"},
        "InnerException": None,
        "HelpLink": None,
        "Source": None,
        "HResult": -2146233088,
        "StackTrace": None,
    }
    return write_json(
        {
            "$type": "System.Exception, System.Private.CoreLib",
            "ClassName": "System.Exception",
            "Message": f" {message}",
            "Data": None,
            "InnerException": inner,
            "HelpURL": None,
            "StackTraceString": None,
            "RemoteStackTraceString": None,
            "RemoteStackIndex": 0,
            "ExceptionMethod": None,
            "HResult": -2146233088,
            "Source": None,
            "WatsonBuckets": None,
        }
    )


def worker_exit() -> tuple[str, str]:
    """Return the text and the details of an activity whose worker process ended before it answered.

    The exit code is the one of a killed process: the host does not learn the true one.
    """
    text = f"python exited with code {_KILLED} ({_KILLED:#x})"
    return text, write_json({"$type": _WORKER_EXIT, "Message": text, "Data": None, "InnerException": None})
