"""Warp: reference pictures moved onto a target mesh and blended. `op.py` is the way in."""
