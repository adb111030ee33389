"""Footprints that touch, fitted together."""
