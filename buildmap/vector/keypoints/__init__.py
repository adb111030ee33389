"""From the corners that a network sees to polygons."""
