"""How a raster is cut into the windows that a network sees."""

from dataclasses import dataclass

from buildmap.raster.blend import Share, share
from buildmap.raster.reader import Reader
from buildmap.raster.windows import PlannedWindow, Window, WindowPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """How a raster is cut into windows, and how they are joined again.

    Windows, cores and halos are the raster's pixels. Shares and all that is made of them are predicted
    pixels, which a model with a scale makes smaller: `scale` of them lie side by side on one of the raster's.
    """

    plan: WindowPlan
    """All windows, in the raster's pixels."""
    ramp_px: int
    """Width of the ramp between two windows, in the raster's pixels."""
    threshold: float
    """At which the seam audit tells building from none."""
    scale: int = 1
    """Predicted pixels per pixel of the raster, along one axis."""
    skip_errors: bool = False
    """Leave a gap where the raster cannot be read, instead of stopping."""

    @property
    def predicted_width(self) -> int:
        """Columns that are predicted."""
        return self.scale * self.plan.width

    @property
    def predicted_ramp_px(self) -> int:
        """Width of the ramp in predicted pixels."""
        return self.scale * self.ramp_px

    def share(self, planned: PlannedWindow) -> Share:
        """Give what a window adds to the sums, in predicted pixels."""
        return share(
            planned.scaled(self.scale),
            width=self.predicted_width,
            height=self.scale * self.plan.height,
            ramp_px=self.predicted_ramp_px,
        )

    def seen(self, placed: Share) -> tuple[Window, tuple[slice, slice]]:
        """Give the raster's pixels under a share: the window of them, and which they are of those read."""
        over, (rows, cols) = placed.window, placed.cut
        window = Window(
            col_off=over.col_off // self.scale,
            row_off=over.row_off // self.scale,
            width=over.width // self.scale,
            height=over.height // self.scale,
        )
        return window, (self._undone(rows), self._undone(cols))

    def _undone(self, part: slice) -> slice:
        return slice(part.start // self.scale, part.stop // self.scale)


def block_cache_bytes(reader: Reader, cutting: Cutting) -> int:
    """Give the block cache that lets every block be decoded once: one row of windows, and a block more."""
    native, plan = reader.native_grid, cutting.plan
    down = native.height / reader.grid.height
    rows = (plan.core_height_px + 2 * plan.halo_px) * down + 2 * 512
    return int(rows * native.width * len(reader.bands) * reader.dtype.itemsize * 1.1)
