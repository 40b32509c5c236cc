"""The server: signalling, sessions, tracks, and the page."""
