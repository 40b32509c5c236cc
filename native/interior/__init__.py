"""Interior: the inside of an open mouth drawn into a patch. `op.py` is the way in."""
