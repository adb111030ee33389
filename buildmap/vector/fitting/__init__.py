"""Straight walls, right angles and circles, fitted to outlines."""
