"""Faces and speech: arrays in, arrays out. No clock, no wire, no device, no global random state."""
