"""A training as one page of HTML that needs nothing beside it: no network, no script, no other file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from buildmap.metrics.headline import Headline
from buildmap.metrics.layout import Picture, Section, count, percent, share
from buildmap.preset import Preset
from buildmap.training.figures import curve_panels
from buildmap.training.overlays import Overlay, key_of
from buildmap.training.preset_toml import to_toml
from buildmap.training.record import EpochRecord
from buildmap.training.run_tables import SourceFacts, data_tables, score_tables

_LONGEST_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """All that is shown."""

    preset: Preset
    """As it was trained with."""
    command: str
    """What was typed."""
    version: str
    """Of this program."""
    device: str
    """Where it learned."""
    parameters: int
    """Learned numbers in the network."""
    records: tuple[EpochRecord, ...]
    """Of all epochs so far; at least one."""
    kept: EpochRecord
    """Of the epoch whose weights were kept."""
    sources: tuple[SourceFacts, ...]
    """What was learned from."""
    overlays: tuple[Overlay, ...] = ()
    """Validation chips; none where there is no such ground."""
    maps: Path | None = None
    """Picture of chips beside their maps; None where none were drawn."""
    notes: tuple[tuple[str, str], ...] = ()
    """Further facts, as name and value: what an audit has found."""


def render(report: RunReport) -> str:
    """Write the page; the same for the same report.

    Whatever a file is called, its name is text and no markup. What was not measured is absent.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("buildmap.training", ""), PackageLoader("buildmap.metrics", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        title=report.preset.title,
        verdict=_verdict(report),
        headlines=_headlines(report.kept),
        facts=_facts(report),
        sections=_sections(report),
        maps=None if report.maps is None else _url(report.maps.read_bytes()),
        preset=to_toml(report.preset),
    )


def _verdict(report: RunReport) -> list[str]:
    """Say how good it has become, and whether more of it would help."""
    kept, records = report.kept, report.records
    counts = list(kept.counts_by_source.values())
    if not counts:
        return ["There was no validation ground, so nobody knows how good it is."]
    tp, fp, fn, _ = (sum(numbers) for numbers in zip(*counts, strict=True))
    if not tp + fp + fn:
        return ["Neither the network nor the annotations have a building on the validation ground."]
    ground = "On validation ground"
    found = [f"it finds {percent(tp, tp + fn)} of the ground of buildings"] if tp + fn else []
    right = f"{percent(tp, tp + fp)} of what it calls building is building" if tp + fp else "it finds nothing"
    told = [f"{ground} {', and '.join([*found, right])}."]
    after = records[-1].epoch - kept.epoch
    if after:
        more = "one more" if after == 1 else f"{count(after)} more"
        told.append(f"It was best in epoch {count(kept.epoch)}; {more} made it no better.")
    elif len(records) > 1:
        told.append("It was best in the last epoch: more epochs may make it better.")
    return told


def _headlines(kept: EpochRecord) -> list[Headline]:
    both = "Of all validation ground that the network or the map calls building, the share that both do."
    found = [
        ("Validation IoU", kept.iou, both),
        ("Validation F1", kept.f1, "Balance of wrongly found and overlooked ground; the Dice score."),
        ("Balanced accuracy", kept.balanced_accuracy, "Mean of the shares found of building and of ground."),
        ("Validation loss", kept.validation_loss, "Mean over the validation batches."),
    ]
    return [
        Headline(name=name, value=share(value), interval="", meaning=meaning)
        for name, value, meaning in found
        if value is not None
    ]


def _facts(report: RunReport) -> list[tuple[str, str]]:
    """Say what was trained, how, where, and how long."""
    preset, records, training = report.preset, report.records, report.preset.training
    skipped = sum(record.skipped_steps for record in records)
    went_back = sum(record.went_back for record in records)
    steps = len(records) * training.steps_per_epoch
    facts = [
        ("Paper", preset.paper),
        ("Network", _network(report)),
        (
            "Epochs",
            f"{_epochs(records, training.epochs)}; the weights of epoch {report.kept.epoch} were kept",
        ),
        ("Steps", f"{count(steps)} of {training.batch_size} chips of {training.chip_px} px"),
        ("Skipped steps", _skipped(skipped, went_back)),
        ("Speed", _speed(records)),
        ("Time", _duration(sum(record.seconds for record in records))),
        ("Device", f"{report.device}, {training.precision}"),
        *report.notes,
        ("Learned from", preset.training_data),
        ("Licence", preset.license),
        ("Command", report.command),
        ("Made by", f"buildmap {report.version}"),
    ]
    return [(name, value) for name, value in facts if value]


def _network(report: RunReport) -> str:
    words = [report.preset.model.name, f"{count(report.parameters)} parameters"]
    if report.preset.gmac_512 is not None:
        words.append(f"{report.preset.gmac_512:g} GMAC for 512 x 512 pixels")
    return ", ".join(words)


def _epochs(records: Sequence[EpochRecord], planned: int) -> str:
    if len(records) == planned:
        return count(planned)
    return f"{count(len(records))} of {count(planned)}"


def _skipped(skipped: int, went_back: int) -> str:
    if not skipped:
        return "none"
    words = f"{count(skipped)}, whose loss or gradient was not finite"
    return f"{words}; {count(went_back)} times back to the last good weights" if went_back else words


def _speed(records: Sequence[EpochRecord]) -> str:
    rate = sum(record.chips_per_s for record in records) / len(records)
    waiting = sum(record.read_wait_share for record in records) / len(records)
    return f"{rate:,.3g} chips per second; the network waited for chips {waiting:.1%} of the time"


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{seconds:.1f} s"


def _sections(report: RunReport) -> list[Section]:
    sections = [
        Section(
            title="Curves",
            anchor="curves",
            lead="How it went, epoch by epoch.",
            tables=(),
            panels=curve_panels(report.records, kept=report.kept.epoch),
        ),
        Section(
            title="Scores",
            anchor="scores",
            lead=f"On the validation ground, threshold 0.5, after epoch {report.kept.epoch}.",
            tables=score_tables(report.kept, report.sources),
            panels=(),
        ),
        Section(
            title="Data",
            anchor="data",
            lead="What it learned from, and what was wrong with it.",
            tables=data_tables(report.sources),
            panels=(),
        ),
        Section(
            title="Samples",
            anchor="samples",
            lead="Validation chips: the best, the median and the worst by IoU of each source; dark where "
            "nothing counts.",
            tables=(),
            panels=(),
            key=tuple((name, "rgb({}, {}, {})".format(*color)) for name, color in key_of(report.overlays)),
            pictures=tuple(_shown(overlay) for overlay in report.overlays),
        ),
    ]
    return [section for section in sections if not section.is_empty]


def _shown(overlay: Overlay) -> Picture:
    numbers = f"{overlay.rank} chip, IoU {share(overlay.iou)}"
    return Picture(
        url=_url(_png(overlay.picture)),
        alt=f"{overlay.source}, {numbers}",
        caption=numbers,
        name=overlay.source,
    )


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _png(picture: NDArray[np.uint8]) -> bytes:
    """Compress a picture to few colours, a third of the bytes, and to what a page has room for."""
    image = Image.fromarray(picture)
    image.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
