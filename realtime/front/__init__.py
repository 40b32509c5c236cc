"""Many machines behind one address: which there are, where a session is placed, and how what follows comes to its machine."""
