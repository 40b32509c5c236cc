"""What the tracker is made of: places in pictures, the nets that look at them, where to look closer, the reference."""
