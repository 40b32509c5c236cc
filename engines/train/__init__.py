"""Training: from clips to the weights that are shipped. `python -m engines.train` lists the commands. Needs the extra `train`."""
