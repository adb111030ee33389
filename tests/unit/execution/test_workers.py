"""Who does the steps of a run."""

from buildmap.execution.cluster import Cluster
from buildmap.execution.executor import Processes
from buildmap.execution.workers import executor_for


def test_one_worker_is_this_process() -> None:
    assert executor_for(workers=1, dask=None) is None


def test_several_workers_are_processes_with_one_result_to_spare() -> None:
    assert executor_for(workers=3, dask=None, initializer=print) == Processes(
        workers=3, ahead=4, initializer=print
    )


def test_a_cluster_goes_before_processes() -> None:
    found = executor_for(workers=2, dask="tcp://somewhere:8786")
    assert found == Cluster(address="tcp://somewhere:8786", workers=2, initializer=None)
