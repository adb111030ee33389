"""Options that make no sense are mistakes of the program: the command line has refused them before."""

import pytest

from buildmap.inference.options import Running


@pytest.mark.parametrize("options", [{"workers": 0}, {"shard": (0, 3)}, {"shard": (4, 3)}])
def test_nonsense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"workers|no shard"):
        Running(**options)  # type: ignore[arg-type]
