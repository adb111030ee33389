"""The story of `buildmap change`: footprints of two dates in, what was built and what is gone out."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from buildmap import __version__
from buildmap.changes.columns import ChangeWriter
from buildmap.changes.evidence import Everywhere, Evidence, evidence_in, open_evidence
from buildmap.changes.examples import Examples
from buildmap.changes.ground import CommonGround, LayerFacts, common_ground, describe
from buildmap.changes.inventory import carried_columns
from buildmap.changes.options import Comparing, Date, Delivery
from buildmap.changes.report import ChangeReport, DateFacts, render
from buildmap.changes.rows import Telling
from buildmap.changes.shifts import ShiftField
from buildmap.changes.sorting import sort_layer
from buildmap.changes.streaming import Strips, compare, survey_shift
from buildmap.changes.summary import ChangeSummary, shift_layer, summarize_shift
from buildmap.changes.tally import Tally
from buildmap.errors import OutputError, Stopped
from buildmap.execution.progress import Progress, Silent
from buildmap.provenance import Provenance, fingerprint_file
from buildmap.publish import check_distinct, check_output, staged, streamed
from buildmap.raster.reader import RasterReader
from buildmap.vector.writing.formats import STREAM, Format, check_format, file_name, format_of
from buildmap.vector.writing.layers import write_layers

if TYPE_CHECKING:
    from pyproj import CRS

_EXAMPLE_CELL_M = 500.0


def change(
    before: Date,
    after: Date,
    output: Path,
    comparing: Comparing | None = None,
    delivery: Delivery | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ChangeSummary:
    """Compare the footprints of two dates, of any number.

    Both layers are read once, sorted on disk, and compared from north to south, so memory follows a strip of
    ground. The output has a row for every building, and can be BEFORE of the next date: ids live on, and what
    is not confirmed yet waits there.

    Args:
        before: Footprints of the first date, or what an earlier run has written.
        after: Footprints of the second.
        output: The layer to be, or `STREAM`, to which FlatGeobuf or GeoJSONSeq is sent at the end.
        comparing: What counts as a change.
        delivery: What is written.
        progress: Hears of every strip.
        stop: Once it says True, `Stopped` is raised at the next strip.

    Raises:
        MissingInput: If a file is not there.
        InputError: If a file cannot be used.
        OutputError: If the output exists already, cannot be created, or has an unknown format.
        LockedError: If another run is writing it.
        ResourceError: If a library for a format is missing.
        StorageError: If reading or writing fails.
        Stopped: If `stop` said so before all was done.
    """
    began = time.monotonic()
    comparing, delivery, progress = comparing or Comparing(), delivery or Delivery(), progress or Silent()
    kind = _check_output(before, after, output, delivery)
    sides = describe(before.path, before.layer), describe(after.path, after.layer)
    ground = common_ground(*sides)
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(output, delivery, kind))
        shifts, html = _beside(delivery, stack)
        strips = _sorted(sides, ground, comparing, folder, progress, stop)
        found = _Found(
            ground=ground,
            telling=_telling(before, after, sides, comparing, ground.crs, stack),
            strips=strips,
            shift=_surveyed(strips, ground, comparing),
            tally=Tally(),
            examples=Examples(cell=_EXAMPLE_CELL_M / ground.unit_m),
        )
        with ChangeWriter(
            folder / file_name(output, kind),
            crs=ground.crs,
            layer=delivery.layer,
            provenance=_provenance(before.path, after.path, comparing),
            kind=kind,
            target_crs=delivery.target_crs or (sides[0].crs if kind.only_crs is None else None),
        ) as writer:
            for batch in compare(strips, found.shift, comparing.judging, found.telling):
                found.tally.add(batch)
                if html is not None:
                    found.examples.add(batch)
                writer.write(batch.only(delivery.only))
        if shifts is not None:
            write_layers(shifts, {"shifts": shift_layer(found.shift.blocks, ground.unit_m)}, crs=ground.crs)
        if html is not None:
            page = render(_report(before, after, found, comparing, delivery))
            html.write_text(page, encoding="utf-8")
    return _summary(output, delivery, found, writer.dropped, began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A comparison, and what came of it."""

    ground: CommonGround
    telling: Telling
    strips: Strips
    shift: ShiftField
    tally: Tally
    examples: Examples


def _summary(output: Path, delivery: Delivery, found: _Found, homeless: int, began: float) -> ChangeSummary:
    before, after, tally = found.strips.before, found.strips.after, found.tally
    repairs = before.repairs + after.repairs
    return ChangeSummary(
        output=str(output),
        layer=delivery.layer,
        crs=found.ground.crs.name,
        before=before.count,
        after=after.count,
        statuses=tally.statuses,
        kinds=tally.kinds,
        area_added_m2=round(tally.area_m2("added"), 2),
        area_removed_m2=round(tally.area_m2("removed"), 2),
        shift=summarize_shift(found.shift, found.ground.unit_m),
        repaired=repairs.mended,
        dropped=repairs.dropped + homeless,
        seconds=round(time.monotonic() - began, 2),
    )


def _report(
    before: Date, after: Date, found: _Found, comparing: Comparing, delivery: Delivery
) -> ChangeReport:
    telling, strips, ground = found.telling, found.strips, found.ground
    return ChangeReport(
        title=f"{before.path.name} to {after.path.name}",
        before=_facts(before, telling.date_before, strips.before.count, telling.evidence_before),
        after=_facts(after, telling.date_after, strips.after.count, telling.evidence_after),
        counts=found.tally.counts,
        shifts=found.shift.blocks if comparing.shift_tolerance_m > 0 else None,
        unit_m=ground.unit_m,
        examples=tuple(found.examples.examples),
        overview=found.examples.overview,
        crs=ground.crs,
        image_before=before.image,
        image_after=after.image,
        version=__version__,
        command=delivery.command,
    )


def _check_output(before: Date, after: Date, output: Path, delivery: Delivery) -> Format:
    """Refuse outputs that cannot be, before any work; give the format."""
    inputs = [
        path for side in (before, after) for path in (side.path, side.valid, side.image) if path is not None
    ]
    kind = format_of(output, delivery.format)
    outputs = [path for path in (output, delivery.shifts, delivery.html) if path is not None]
    for path in outputs:
        if path == STREAM:
            continue
        check_distinct(path, *inputs)
        check_output(path, overwrite=delivery.overwrite or delivery.wait_s > 0)
        if sum(path.absolute() == other.absolute() for other in outputs) > 1:
            raise OutputError(f"{path} would be written twice", hint="give every output a name of its own")
    if delivery.shifts is not None:
        check_format(delivery.shifts)
    for image in (before.image, after.image):
        if image is not None:
            RasterReader(image).close()
    return kind


def _folder(output: Path, delivery: Delivery, kind: Format) -> AbstractContextManager[Path]:
    """Claim the folder in which the output is made."""
    if output == STREAM:
        return streamed(sys.stdout.buffer, file_name(output, kind))
    return staged(output, overwrite=delivery.overwrite, wait_s=delivery.wait_s)


def _beside(delivery: Delivery, stack: ExitStack) -> tuple[Path | None, Path | None]:
    """Claim the places of the layer of shifts and of the report."""
    shifts, html = (
        None if path is None else stack.enter_context(staged(path, overwrite=delivery.overwrite)) / path.name
        for path in (delivery.shifts, delivery.html)
    )
    return shifts, html


def _surveyed(strips: Strips, ground: CommonGround, comparing: Comparing) -> ShiftField:
    return survey_shift(
        strips,
        tolerance=comparing.shift_tolerance_m / ground.unit_m,
        block=comparing.shift_block_m / ground.axis_m,  # a lattice that stays from date to date
        unit_m=ground.unit_m,
    )


def _telling(
    before: Date,
    after: Date,
    sides: tuple[LayerFacts, LayerFacts],
    comparing: Comparing,
    crs: "CRS",
    stack: ExitStack,
) -> Telling:
    """Gather what rows depend on besides the buildings."""
    evidence = [_evidence(date, crs) for date in (before, after)]
    for one in evidence:
        stack.callback(one.close)
    return Telling(
        crs=crs,
        confirming=comparing.confirming,
        evidence_before=evidence[0],
        evidence_after=evidence[1],
        date_before=before.date or sides[0].date,
        date_after=after.date or sides[1].date,
    )


def _evidence(date: Date, crs: "CRS") -> Evidence:
    if date.valid is not None:
        return open_evidence(date.valid, crs=crs)
    return evidence_in(date.path, crs=crs) or Everywhere()


def _sorted(
    sides: tuple[LayerFacts, LayerFacts],
    ground: CommonGround,
    comparing: Comparing,
    folder: Path,
    progress: Progress,
    stop: Callable[[], bool],
) -> Strips:
    """Read both layers, and sort them on disk."""
    carried = carried_columns(sides[0].columns, comparing.id_column), ()
    progress.start("read", len(sides))
    layers = []
    for side, columns in zip(sides, carried, strict=True):
        if stop():
            raise Stopped("interrupted", hint="run it again")
        layers.append(
            sort_layer(
                side.path,
                folder,
                crs=ground.crs,
                strip_height=ground.strip_height,
                layer=side.layer,
                columns=columns,
            )
        )
        progress.advance()
    return Strips(before=layers[0], after=layers[1], height=ground.strip_height, progress=progress, stop=stop)


def _facts(date: Date, day: str | None, buildings: int, evidence: Evidence) -> DateFacts:
    known = None if isinstance(evidence, Everywhere) else str(date.valid or date.path)
    return DateFacts(name=str(date.path), date=day, buildings=buildings, evidence=known)


def _provenance(before: Path, after: Path, comparing: Comparing) -> Provenance:
    options = asdict(comparing)
    return Provenance(
        verb="change",
        source=f"{before.name} {after.name}",
        source_fingerprint=" ".join(
            fingerprint_file(path) if path.is_file() else "" for path in (before, after)
        ),
        options=" ".join(f"{name}={value}" for name, value in options.items()),
    )
