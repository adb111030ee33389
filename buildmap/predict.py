"""The story of `buildmap predict`: a raster in, building probability or footprints out."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from buildmap.errors import OutputError
from buildmap.execution.journal import has_records, missing_bytes
from buildmap.execution.progress import Progress, Silent
from buildmap.inference.forecast import Forecast, forecast
from buildmap.inference.job import decisive
from buildmap.inference.options import Prediction, Running
from buildmap.inference.prepare import Work, prepare
from buildmap.inference.strips import Arrivals, journal_in, record_of, tally_of
from buildmap.provenance import Provenance
from buildmap.publish import check_distinct, shared, staged, workspace
from buildmap.raster.area import outlines_of
from buildmap.raster.blend import audit_rows
from buildmap.raster.dates import tags_of
from buildmap.raster.parts import DamagedPart, PartRecord, read_rows
from buildmap.raster.seams import SeamAudit, Seams, summarize
from buildmap.raster.windows import Window
from buildmap.raster.writer import COG_SHARE, write_cog
from buildmap.vector.writing.formats import VALID_LAYER, format_of, is_vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from buildmap.vector.outlining import Outlining
    from buildmap.vector.valid_area import ValidArea
    from buildmap.vector.writing.writer import Batch

_STRIPS = "strips"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictSummary:
    """What was done."""

    output: str
    """The file written; for a shard, the file it is a share of."""
    model: str
    """Title of the model."""
    device: str
    """Where the network ran."""
    width_px: int
    """Columns predicted."""
    height_px: int
    """Rows predicted."""
    gsd_m: float | None
    """Ground sample distance of what is predicted, in metres; null where the raster has none."""
    strips: int
    """Strips of the raster, or of the shard."""
    strips_resumed: int
    """Of these, strips an earlier run had done."""
    windows: int
    """Windows in the strips."""
    windows_skipped: int
    """Windows without anything valid and wanted, never predicted."""
    gaps: tuple[Window, ...]
    """Cores of windows that could not be read, in predicted pixels: no data in the output."""
    footprints: int | None
    """Buildings written, where the output is a layer."""
    seams: Seams | None
    """How well overlapping windows agree; null where there is one window, the work is shared out, or the
    model finds buildings one by one."""
    mpx_per_s: float
    """Raster megapixels per second in this run, finishing included."""
    device_busy: float
    """Share of the predicting time in which the network ran."""
    read_wait: float
    """Share of the predicting time in which it waited for the raster to be read."""
    seconds: float
    """Wall time, loading the model included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be done."""

    output: str
    """The file that would be written."""
    replaces: bool
    """It is there already: `--overwrite` is needed."""
    model: str
    """Title of the model."""
    device: str
    """Where the network would run."""
    width_px: int
    """Columns to predict."""
    height_px: int
    """Rows to predict."""
    strips: int
    """Strips of the raster, or of the shard."""
    strips_done: int
    """Of these, strips an earlier run has done."""
    takes: Forecast
    """What the rest would take."""


def predict(
    raster: str | Path | tuple[str, ...],
    output: Path,
    prediction: Prediction | None = None,
    running: Running | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> PredictSummary:
    """Predict building probability, or buildings, over a raster of any size.

    The output is a COG of uint8 probability (0..254, 255 = no data) at the working GSD divided by the
    model's scale, or footprints if its suffix names a vector format: drawn from probability, or found one
    by one where the model does that. It appears only when it is whole; what was done of it before is kept
    beside it, and the next run with the same raster, model and options goes on from there.

    Args:
        raster: Anything GDAL reads, also its URL; several are one mosaic.
        output: The file to write.
        prediction: What to predict.
        running: How to go about it.
        progress: Hears of every window.
        stop: Once it says True, the strip in hand is finished and `Stopped` raised.

    Raises:
        InputError: If the raster or the model cannot be used, or do not fit each other.
        MismatchError: If the unfinished run beside the output was another.
        OutputError: If the output exists already, or cannot be created.
        LockedError: If another run is writing it.
        ResourceError: If device, memory or cluster are not available.
        StorageError: If reading or writing fails.
        IncompleteError: If shards are missing.
        Stopped: If `stop` said so before all was done.
    """
    began = time.monotonic()
    prediction, running, progress = prediction or Prediction(), running or Running(), progress or Silent()
    names = raster if isinstance(raster, tuple) else (str(raster),)
    _check_output(output, names, prediction)
    work, backend = prepare(names, prediction, running, is_layer=is_vector(output))
    with work.reader, _folder(output, running, work.job.cutting.plan.strips) as folder:
        if running.restart:
            rmtree(folder / _STRIPS, ignore_errors=True)
        journal = journal_in(folder / _STRIPS, work)
        mine = _share(work.job.cutting.plan.strips, running.shard)
        before = journal.done() & set(mine)
        seams, found = SeamAudit(), None
        with closing(
            Arrivals(work, backend, journal, mine, running, progress=progress, stop=stop)
        ) as arrivals:
            del backend  # its memory is free once the last strip is predicted
            if running.shard is None:
                found = _assemble(folder / output.name, work, arrivals, prediction, seams)
            tallies = [tally_of(journal, step) for step in arrivals.in_order()]
    grid, seconds = work.grid, time.monotonic() - began
    gsd_m, pixels = grid.gsd_m(), _pixels(work, [step for step in mine if step not in before])
    return PredictSummary(
        output=str(output),
        model=work.card.title,
        device=work.device,
        width_px=grid.width,
        height_px=grid.height,
        gsd_m=None if gsd_m is None else round(gsd_m, 4),
        strips=len(mine),
        strips_resumed=len(before),
        windows=sum(tally.windows for tally in tallies),
        windows_skipped=sum(tally.skipped for tally in tallies),
        gaps=tuple(core for tally in tallies for core in tally.gaps),
        footprints=found,
        seams=None if running.shard else summarize(seams),
        mpx_per_s=round(pixels / seconds / 1e6, 3),
        device_busy=round(arrivals.measured.device_busy, 3),
        read_wait=round(arrivals.measured.read_wait, 3),
        seconds=round(seconds, 2),
    )


def dry_run(
    raster: str | Path | tuple[str, ...],
    output: Path,
    prediction: Prediction | None = None,
    running: Running | None = None,
) -> DryRun:
    """Tell what `predict` would do with the same arguments, and what it would take; nothing is written.

    Raises:
        InputError: As `predict`.
        MismatchError: As `predict`.
        OutputError: If the output is an input, or of a kind that cannot be written.
        ResourceError: As `predict`.
    """
    prediction, running = prediction or Prediction(), running or Running()
    names = raster if isinstance(raster, tuple) else (str(raster),)
    _check_output(output, names, prediction)
    work, backend = prepare(names, prediction, running, is_layer=is_vector(output))
    with work.reader:
        mine = _share(work.job.cutting.plan.strips, running.shard)
        folder = workspace(output) / _STRIPS
        done = set[int]()
        if has_records(folder) and not running.restart:  # else its plan may be that of a run under way
            done = journal_in(folder, work).done()
        return DryRun(
            output=str(output),
            replaces=output.exists(),
            model=work.card.title,
            device=work.device,
            width_px=work.grid.width,
            height_px=work.grid.height,
            strips=len(mine),
            strips_done=len(done & set(mine)),
            takes=forecast(work, backend, [step for step in mine if step not in done]),
        )


def _check_output(output: Path, names: tuple[str, ...], prediction: Prediction) -> None:
    if is_vector(output):
        kind = format_of(output)
        if prediction.skip_errors and not kind.several_layers:
            raise OutputError(
                f"{kind.name} has no room for a layer of gaps, which --on-error skip may leave",
                hint=f"{output.stem}.gpkg",
            )
        if prediction.valid and not kind.several_layers:
            raise OutputError(
                f"{kind.name} has no room for a layer '{VALID_LAYER}' beside the footprints",
                hint=f"{output.stem}.gpkg",
            )
    elif output.suffix.lower() not in {".tif", ".tiff"}:
        raise OutputError(f"{output} does not end in .tif or .gpkg", hint=f"{output.stem}.tif")
    elif prediction.valid:
        raise OutputError(
            f"{output} is a raster, which tells itself where it has data", hint="leave out --valid"
        )
    layers = [] if prediction.aoi is None else [prediction.aoi]
    check_distinct(output, *map(Path, names), *prediction.models, *layers)


def _folder(output: Path, running: Running, strips: int) -> AbstractContextManager[Path]:
    """Claim the folder in which the output is made: alone, or together with other shards."""
    share = None if is_vector(output) else COG_SHARE
    needs = partial(missing_bytes, workspace(output) / _STRIPS, strips, output_share=share)
    if running.shard is None:
        return staged(output, overwrite=running.overwrite, resume=True, wait_s=running.wait_s, needs=needs)
    claim = "shard-{}-of-{}".format(*running.shard)
    return shared(output, overwrite=running.overwrite, claim=claim, wait_s=running.wait_s, needs=needs)


def _share(strips: int, shard: tuple[int, int] | None) -> list[int]:
    """Give the strips to do: all of them, or the i-th of n runs of neighbours."""
    share, shares = shard or (1, 1)
    return list(range(strips * (share - 1) // shares, strips * share // shares))


def _assemble(
    path: Path, work: Work, arrivals: Arrivals, prediction: Prediction, seams: SeamAudit
) -> int | None:
    """Put the strips together into the output; give the number of footprints, where there are any.

    Footprints are drawn while the strips below are predicted; the COG waits for all of them.
    """
    try:
        if work.job.finding is not None:
            return _write_layer(path, work, _objects(work, arrivals, prediction), arrivals, prediction)
        parts = _parts(arrivals, seams)
        audit = partial(
            audit_rows,
            seams=seams,
            ramp_px=work.job.cutting.predicted_ramp_px,
            threshold=work.job.cutting.threshold,
        )
        if is_vector(path):
            rows, ground = read_rows(parts, on_join=audit), None
            if prediction.valid:
                ground = _valid_area(work)
                rows = ground.watch(rows)
            return _write_layer(path, work, _drawn(work, rows, prediction), arrivals, prediction, ground)
        tags = {"BUILDMAP": _provenance(work, prediction, drawn=False).to_json(), **tags_of(work.reader.date)}
        write_cog(path, work.grid, list(parts), tags=tags, on_join=audit)
    except DamagedPart as error:
        if error.path.stem.isdecimal():  # a strip, not what was made of strips
            arrivals.journal.forget(int(error.path.stem))
        raise
    return None


def _parts(arrivals: Arrivals, seams: SeamAudit) -> Iterator[tuple[Path, PartRecord]]:
    """Give the strips of probability, and count their seams."""
    for step in arrivals.in_order():
        record = record_of(arrivals.journal, step)
        seams.add(record.seams)
        yield arrivals.journal.product(step), record.part


def _valid_area(work: Work) -> "ValidArea":
    from buildmap.vector.valid_area import ValidArea  # compiled, likewise

    return ValidArea(work.grid.width, transform=work.grid.transform)


def _drawn(work: Work, rows: "Iterator[NDArray[np.uint8]]", prediction: Prediction) -> "Iterator[Batch]":
    """Draw the footprints of rows of probability that stream by."""
    from buildmap.vector.footprint import footprints  # compiled: only for those who want a layer

    grid = work.grid
    return footprints(
        rows,
        transform=grid.transform,
        crs=grid.crs,
        settings=_outlining(work, prediction),
        source_date=work.reader.date,
    )


def _objects(work: Work, arrivals: Arrivals, prediction: Prediction) -> "Iterator[Batch]":
    """Merge the buildings that windows found, strip by strip, and place them on the map."""
    from buildmap.inference.object_layer import place_objects
    from buildmap.inference.object_strips import merged

    files = ((step, arrivals.journal.product(step)) for step in arrivals.in_order())
    return place_objects(
        merged(files, work.job),
        grid=work.grid,
        classes=work.card.classes,
        min_area_m2=prediction.outlining.min_area_m2,
        wanted=work.job.area,
        source_date=work.reader.date,
    )


def _write_layer(
    path: Path,
    work: Work,
    batches: "Iterable[Batch]",
    arrivals: Arrivals,
    prediction: Prediction,
    ground: "ValidArea | None" = None,
) -> int:
    """Write footprints as they come, and beside them the ground that was seen and the gaps.

    Args:
        path: The file to be.
        work: What was predicted.
        batches: Its footprints.
        arrivals: Its strips.
        prediction: What was asked for.
        ground: What was seen, as far as the batches have come; where it is None and wanted, it is read.

    Returns:
        The number of footprints.
    """
    from buildmap.vector.writing.writer import FootprintWriter, ObjectWriter

    grid = work.grid
    kind = FootprintWriter if work.job.finding is None else ObjectWriter
    with kind(path, crs=grid.crs, provenance=_provenance(work, prediction, drawn=True)) as writer:
        for batch in batches:
            writer.write(batch)
            if ground is not None:
                writer.write_beside(VALID_LAYER, ground.take())
        gaps = [core for step in arrivals.in_order() for core in tally_of(arrivals.journal, step).gaps]
        if prediction.valid:
            for polygons in _seen(work, ground, gaps, arrivals):
                writer.write_beside(VALID_LAYER, polygons)
        if gaps:
            writer.write_gaps(outlines_of(gaps, grid))
        return writer.count


def _seen(
    work: Work, ground: "ValidArea | None", gaps: list[Window], arrivals: Arrivals
) -> "Iterator[NDArray[np.object_]]":
    """Give the rest of the ground that was seen, or all of it where no rows of probability told of it."""
    if ground is not None:
        yield ground.take()
        return
    from buildmap.inference.seen import seen_ground

    yield from seen_ground(work.job, work.reader, gaps, progress=arrivals.progress, stop=arrivals.stop)


def _provenance(work: Work, prediction: Prediction, *, drawn: bool) -> Provenance:
    card, job = work.card, work.job
    how = decisive(job.cutting, job.options, bands=job.source.bands, resample=prediction.resample)
    if job.finding is not None:
        how |= asdict(job.finding) | {"min_area_m2": prediction.outlining.min_area_m2}
    elif drawn:
        how |= asdict(_outlining(work, prediction))
    return Provenance(
        verb="predict",
        source=Path(job.source.rasters[0]).name,
        source_fingerprint=work.facts["input"],
        model=f"{card.title} [{card.fingerprint}]",
        options=" ".join(f"{name}={value}" for name, value in how.items()),
    )


def _outlining(work: Work, prediction: Prediction) -> "Outlining":
    threshold = work.card.threshold if prediction.threshold is None else prediction.threshold
    return replace(prediction.outlining, threshold=threshold)


def _pixels(work: Work, steps: list[int]) -> int:
    plan = work.job.cutting.plan
    return sum((stop - first) * plan.width for first, stop in map(plan.span, steps))
