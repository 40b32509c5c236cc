"""Pixels: operators over arrays. Knows no faces and no time."""
