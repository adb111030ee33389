"""From pixels to exact outlines."""
