"""The engine inside of other people's frameworks."""
