"""One actor says all sound files of a folder: python examples/dub_folder.py presenter recordings/ videos/"""

import sys
from pathlib import Path

import mytalk


def main(who: str, recordings: Path, videos: Path) -> None:
    """Write a video for each sound file; those that are there already are left alone."""
    actor = mytalk.enrol(who) if Path(who).is_file() else mytalk.load(who)
    nets = mytalk.pipeline()  # loaded once for all of them
    videos.mkdir(exist_ok=True)
    for speech in sorted(path for path in recordings.iterdir() if path.is_file()):
        video = videos / f"{speech.stem}.mp4"
        if video.exists():
            continue
        try:
            report = mytalk.dub(actor, speech, video, pipeline=nets)
            print(f"{video}: {report.seconds:.1f} s")
        except mytalk.Fault as fault:  # not a sound file, say: the others go on
            print(f"{speech}: {fault}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
