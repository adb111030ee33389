"""What made an output: program, version, command and fingerprints of model and input."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from buildmap import __version__

_END_BYTES, _SAMPLE_BYTES = 65536, 4096


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
    """What else decided the result: NAME=VALUE, parted by blanks."""
    version: str = __version__
    """Version of buildmap."""

    def to_json(self) -> str:
        """Give one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)


def fingerprint_file(path: Path) -> str:
    """Give a cheap identity of a file's content, 16 hex digits: SHA-256 of its size, its ends and samples.

    Reading 64 KiB at either end and 4 KiB at 14 places between keeps this instant on terabyte rasters.
    """
    digest = hashlib.sha256()
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        for place in range(16):
            file.seek(max(size - _END_BYTES, 0) * place // 15)
            digest.update(file.read(_END_BYTES if place in {0, 15} else _SAMPLE_BYTES))
    return digest.hexdigest()[:16]
