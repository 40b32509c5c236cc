"""Composite: a rendered patch matched in colour and blended into an I420 frame. `op.py` is the way in."""
