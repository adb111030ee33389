"""Who does the steps of a run: this process, several, or a cluster."""

from collections.abc import Callable

from buildmap.execution.executor import Executor, Processes


def executor_for(
    *, workers: int, dask: str | None, initializer: Callable[[int], None] | None = None
) -> Executor | None:
    """Choose an executor.

    Args:
        workers: Processes here, or those to start for a cluster on this machine.
        dask: Address of a dask scheduler, or 'local'.
        initializer: Called first in every process, with its number.

    Returns:
        None where this process does the steps itself.

    Raises:
        ResourceError: If dask is missing.
    """
    if dask is not None:
        from buildmap.execution.cluster import Cluster

        return Cluster(address=dask, workers=workers, initializer=initializer)
    if workers == 1:
        return None
    return Processes(workers=workers, ahead=workers + 1, initializer=initializer)
