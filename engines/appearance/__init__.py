"""Motion to pictures."""
