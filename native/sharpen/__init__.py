"""Sharpen: fine detail given back to a patch until its middle is as sharp as wanted. `op.py` is the way in."""
