"""`python -m engines.train COMMAND`: retrain what is shipped.

    face     the mean face, from the clips' landmarks
    motion   the motion net: pack the clips, train, export, and print its figures
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Parse the command line and run a command."""
    parser = argparse.ArgumentParser(prog="python -m engines.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["face", "motion"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with manifest.csv and its clips")
    parser.add_argument("--cache", type=Path, default=Path("cache/motion"), help="where packed clips and checkpoints are kept")
    parser.add_argument("--minutes", type=float, default=12, help="of training for each of the nets")
    parser.add_argument("--nets", type=int, default=3, help="trained from different seeds and averaged")
    parser.add_argument("--out", type=Path, default=Path("engines/weights"))
    parser.add_argument("--free", action="store_true", help="only clips whose licence leaves no doubt")
    options = parser.parse_args()
    if options.command == "face":
        from engines.train.shape import make_face

        make_face(options.data, options.out)
    else:
        from engines.train.motion import train_all

        train_all(options.data, options.cache, options.out, options.minutes, options.nets, options.free)


if __name__ == "__main__":
    main()
