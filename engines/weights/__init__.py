"""The nets and shapes that we ship."""
