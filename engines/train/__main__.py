"""`python -m engines.train COMMAND`: retrain what is shipped.

face     the mean face, from the clips' landmarks
motion   the motion net: pack the clips, train, export, and print its figures
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main() -> None:
    """Parse the command line and run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m engines.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["face", "presenter", "motion"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with manifest.csv and its clips")
    parser.add_argument("--cache", type=Path, default=Path("cache/motion"), help="where packed clips and checkpoints are kept")
    parser.add_argument("--steps", type=int, default=300, help="of training for each of the nets")
    parser.add_argument("--nets", type=int, default=5, help="trained from different seeds and averaged")
    parser.add_argument("--out", type=Path, default=Path("engines/weights"))
    parser.add_argument("--free", action="store_true", help="leave out the clips whose rights are not stated, too")
    options = parser.parse_args()
    if options.command == "face":
        from engines.train.shape import make_face

        make_face(options.data, options.out)
    elif options.command == "presenter":
        from engines.actor import BUILT_IN, save_actor
        from engines.portrait import preview
        from engines.presenter import make_presenter

        folder = options.out.parent / "actors" / BUILT_IN
        shutil.rmtree(folder, ignore_errors=True)
        actor = make_presenter()
        save_actor(actor, folder, preview(actor))
    else:
        from engines.train.motion import train_all

        train_all(options.data, options.cache, options.out, options.steps, options.nets, options.free)


if __name__ == "__main__":
    main()
