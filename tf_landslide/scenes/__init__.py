"""Whole scenes: georeferenced rasters on one grid, read, predicted and written block by block."""
