"""Whether code of the user's may run here: a workload's settings say so, and so does this process's
environment.
"""

from __future__ import annotations

import os

TRUSTED = "FLEETSCORE_TRUSTED"
"""Environment variable with the names of workloads whose own Python and pickles may run here, separated by
commas.
"""


def trusted_names() -> frozenset[str]:
    """The workloads that this process's environment trusts."""
    return frozenset(name.strip() for name in os.environ.get(TRUSTED, "").split(",") if name.strip())


def find_distrust(workload: str, *, is_trusted: bool) -> str:
    """Why code of the workload may not run here, "" where it may; `is_trusted` is what its settings say.

    A file in the store alone must never make code run, and neither must a setting of the app.
    """
    if not is_trusted:
        return f"settings/{workload}.toml does not say trusted = true under [models]"
    if workload not in trusted_names():
        return f"{TRUSTED} does not name {workload} in this process's environment"
    return ""


def trust_fix(workload: str) -> str:
    """What to do for code of the workload to run."""
    return (
        f"If you trust its code and models, set trusted = true under [models] in settings/{workload}.toml, and name {workload} "
        f"in {TRUSTED} (azd env set {TRUSTED} {workload}, then azd provision; in a shell: export {TRUSTED}={workload})."
    )
