"""What happens on Azure and not by itself on one machine: lost activities and dead partitions, to test apps
with.
"""

from dataclasses import dataclass

from devhost.errors import SettingsError

_FNV_BASIS, _FNV_PRIME = 2166136261, 16777619


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults the host shows.

    `fails_lost_activities`: an activity whose worker process dies fails, as on Azure; else it runs again.
    `dead_partitions`: the numbers of control queues that are not read: messages to their instances are
    accepted and never handled. `partition_count` is host.json's.
    """

    fails_lost_activities: bool = True
    dead_partitions: frozenset[int] = frozenset()
    partition_count: int = 4

    def __post_init__(self) -> None:
        beyond = sorted(each for each in self.dead_partitions if not 0 <= each < self.partition_count)
        if beyond:
            raise SettingsError(
                f"--dead-partition {beyond[0]}: host.json has {self.partition_count} partitions, "
                "numbered from 0"
            )

    def is_dead(self, instance_id: str) -> bool:
        """Return whether messages to the instance are left unhandled."""
        return bool(self.dead_partitions) and self.partition_of(instance_id) in self.dead_partitions

    def partition_of(self, instance_id: str) -> int:
        """Return the number of the instance's control queue, by the hash of Azure's storage provider."""
        value = _FNV_BASIS
        for byte in instance_id.encode():
            value = (value ^ byte) * _FNV_PRIME % (1 << 32)
        return value % self.partition_count
