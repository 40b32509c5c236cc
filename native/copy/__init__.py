"""Copy: lines of bytes moved from place to place on a card, for many sessions in one launch. `reference.py` is the definition."""
