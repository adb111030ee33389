"""The story of `buildmap doctor`: what is here, and whether the commands can work with it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from buildmap.checks import geography, libraries, machine, networks
from buildmap.checks.fact import Fact, examine

_Checks = tuple[tuple[str, Callable[[], Fact | tuple[Fact, ...]]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found."""

    facts: tuple[Fact, ...]
    """In the order of the checks."""
    warnings: int
    """Facts that some will stumble over."""
    failed: int
    """Facts because of which commands cannot work."""


def doctor(variables: Collection[str]) -> Diagnosis:
    """Look at the environment, and try what the commands do with it; nothing is left behind.

    Args:
        variables: Names of all environment variables that the commands read.
    """
    facts = tuple(fact for name, check in _checks(variables) for fact in examine(name, check))
    return Diagnosis(
        facts=facts,
        warnings=sum(fact.status == "warning" for fact in facts),
        failed=sum(fact.status == "failed" for fact in facts),
    )


def _checks(variables: Collection[str]) -> _Checks:
    """List the checks; what is simple comes first, so that what fails later has its reason above."""
    gpus = libraries.seen_gpus()
    return (
        ("buildmap", machine.program),
        ("Python", machine.python),
        ("platform", machine.system),
        ("cores", machine.cores),
        ("memory", machine.memory),
        ("temporary folder", machine.temporary_folder),
        ("encoding", machine.encoding),
        ("variables", partial(machine.variables, variables)),
        ("packages", libraries.packages),
        ("numba", libraries.numba),
        ("GPU", partial(libraries.gpu, gpus)),
        ("torch", partial(libraries.torch, gpus)),
        ("GDAL of rasterio", geography.gdal_of_rasterio),
        ("GDAL of pyogrio", geography.gdal_of_pyogrio),
        ("PROJ of rasterio", geography.proj_of_rasterio),
        ("PROJ of pyproj", geography.proj_of_pyproj),
        ("PROJ of pyogrio", geography.proj_of_pyogrio),
        ("GeoTIFF", geography.geotiff),
        ("GeoPackage", geography.geopackage),
        ("onnxruntime", partial(networks.onnxruntime, gpus)),
        ("models", networks.shipped_models),
        ("built-in model", networks.builtin_model_runs),
    )
