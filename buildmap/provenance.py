"""What made an output: program, version, command and fingerprints of model and input."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from buildmap import __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Stamped on every output: TIFF tags, GeoPackage metadata, checkpoint metadata."""

    verb: str
    """The command that made it."""
    source: str
    """File name of the input."""
    source_fingerprint: str
    """`fingerprint_file` of the input."""
    model: str | None = None
    """Title and fingerprint of the model, where one was used."""
    options: str = ""
    """Options that changed the result, as typed."""
    version: str = __version__
    """Version of buildmap."""

    def to_json(self) -> str:
        """Give one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)


def fingerprint_file(path: Path) -> str:
    """Give a cheap identity of a file's content: its size and the SHA-256 of its ends, 16 hex digits.

    Reading 64 KiB at either end keeps this instant on terabyte rasters.
    """
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(65536))
        file.seek(max(size - 65536, 0))
        digest.update(file.read(65536))
    return digest.hexdigest()[:16]
