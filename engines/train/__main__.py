"""`python -m engines.train COMMAND`: retrain what is shipped.

face     the mean face, from the clips' landmarks
people   the actors that ship: drawn people, and two paintings of the data's photos
tracker  the tracker's nets, from MediaPipe's (needs the extra `mediapipe`)
motion   the motion nets: all speech and clips packed, encoder, teacher, student, export, figures (an hour and a half on two cores)
covered  what is before a mouth, and two pictures in one (half an hour on two cores)
onward   the shipped motion nets, trained on with all faces, and figures of people held out (40 minutes on one core)
manners  the manners of speaking that ship, from clips of which somebody said with what feeling they are spoken (a minute)
rest     where a mouth is at rest: a regression over faces (ten minutes on two cores)
renderer  the refiner's net: clips packed, training, export, figures (two hours on two cores); with --onward the shipped net is trained on
ablations  what each part of that brings: shorter trainings without it (names of variants after the command; all of them: two hours)
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path


def main() -> None:
    """Parse the command line and run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m engines.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "command", choices=["face", "people", "tracker", "motion", "onward", "rest", "manners", "covered", "renderer", "ablations"]
    )
    parser.add_argument("variants", nargs="*", help="of ablations; all if none is named")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with manifest.csv and its clips")
    parser.add_argument(
        "--cache", type=Path, help="where packed clips and checkpoints are kept; cache/ and the command, or cache/motion, if not given"
    )
    parser.add_argument("--length", type=float, default=1.0, help="of the training against what is shipped: 0.01 for a dry run")
    parser.add_argument("--out", type=Path, default=Path("engines/weights"), help="where weights go")
    parser.add_argument("--onward", action="store_true", help="renderer: train the net in --out on, instead of one that knows nothing")
    parser.add_argument("--free", action="store_true", help="leave out the clips whose rights are not stated, too")
    options = parser.parse_args()
    cache = options.cache or Path("cache") / (
        options.command if options.command in ("renderer", "rest", "manners", "covered") else "motion"
    )
    if options.command == "face":
        from engines.train.shape import make_face

        make_face(options.data, options.out)
    elif options.command == "people":
        from engines.train.people import make_people

        make_people(options.out.parent / "actors", options.data / "photos")
    elif options.command == "tracker":
        from engines.train.tracker import make_tracker

        make_tracker(options.out)
    elif options.command == "ablations":
        from engines.train.ablations import ablate

        ablate(options.data, cache, options.length, options.variants)
    elif options.command == "rest":
        from engines.train.rest import train_rest

        train_rest(options.data, cache, options.out)
    elif options.command == "manners":
        from engines.train.manners import train_manners

        train_manners(options.data, cache, options.out)
    elif options.command == "onward":
        from engines.train import onward

        onward.train_on(options.data, cache, options.out, onward.scaled(onward.Onward(), options.length))
    elif options.command == "covered":
        from engines.train.covered import train_covered

        train_covered(options.data, cache, options.out, options.length)
    elif options.command == "renderer":
        from engines.train import renderer

        plan = renderer.Plan(free=options.free)
        if options.onward:
            plan = replace(plan, onward=str(options.out), **renderer.ONWARD)
        renderer.train_all(options.data, cache, options.out, renderer.scaled(plan, options.length))
    else:
        from engines.train.motion import Plan, scaled, train_all

        train_all(options.data, cache, options.out, scaled(Plan(free=options.free), options.length))


if __name__ == "__main__":
    main()
