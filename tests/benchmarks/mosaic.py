"""Rasters of any size, made by repeating a small one."""

from pathlib import Path

import rasterio
from rasterio.crs import CRS

from tests.scenes import UTM

_SOURCE = """<SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>{band}</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="{across}" ySize="{down}"/>
<DstRect xOff="{col}" yOff="{row}" xSize="{across}" ySize="{down}"/></SimpleSource>"""
_GSD_M = 0.3


def write_mosaic(source: Path, path: Path, *, width: int, height: int, piece_px: int | None = None) -> Path:
    """Write a VRT that repeats the upper left of a raster, three bands of uint8, as if it were 0.3 m.

    Args:
        source: Raster to repeat.
        path: The VRT.
        width: Columns of the VRT.
        height: Rows of the VRT.
        piece_px: Side of the square that is repeated; all of the source when None.
    """
    with rasterio.open(source) as dataset:
        across = min(piece_px or dataset.width, width)
        down = min(piece_px or dataset.height, height)
    place = {"path": source.resolve(), "across": across, "down": down}
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            _SOURCE.format(band=band, col=col, row=row, **place)
            for row in range(0, height, down)
            for col in range(0, width, across)
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    wkt = CRS.from_user_input(UTM).to_wkt()
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{wkt}</SRS>'
        f"<GeoTransform>400000, {_GSD_M}, 0, 5000000, 0, -{_GSD_M}</GeoTransform>{bands}</VRTDataset>"
    )
    return path
