"""The seam audit counts what it says."""

import numpy as np
import pytest

from buildmap.raster.seams import SeamAudit, summarize


def test_disagreement_and_flips_are_of_the_pixels_both_windows_know() -> None:
    audit = SeamAudit()
    audit.compare(np.array([0.2, 0.6, np.nan, 0.9]), np.array([0.4, 0.4, 0.5, np.nan]), 0.5)
    audit.sample_inside(np.array([0.1, np.nan]), np.array([0.4, 0.3]))
    more = SeamAudit(pixels=2, disagreement=0.4, flips=0, inner_pixels=1, inner_difference=0.1)
    audit.add(more)
    found = summarize(audit)
    assert found is not None
    assert found.disagreement == pytest.approx((0.2 + 0.2 + 0.4) / 4)
    assert found.flips_per_million == 250_000
    assert found.inside == pytest.approx(0.2)


def test_one_window_has_no_seam() -> None:
    assert summarize(SeamAudit()) is None
