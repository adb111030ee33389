"""Layers of footprints in every format."""
