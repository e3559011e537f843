"""Make the photograph model from nothing, and go on where it was stopped: the same command again.

    photos.py FOLDER PHOTOS [--workers N] [options of train_photos.py]

FOLDER gets what is fetched (cache), what the tower sees (features), the checkpoints (run) and the model as Hugging Face has it (hf).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def start(script, *arguments):
    return subprocess.Popen([sys.executable, HERE / script, *map(str, arguments)])


def wait(*running):
    """Until all have ended, or one has failed: then it ends the others, which would wait for that one."""
    try:
        while any(process.poll() is None for process in running) and not any(process.poll() for process in running):
            time.sleep(1)
        failed = [process.args[1].name for process in running if process.poll()]
    finally:
        for process in running:
            process.terminate()
    if failed:
        sys.exit(f"{failed[0]} failed: what it says stands above; the same command goes on from there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    args, training = parser.parse_known_args()
    cache, features, run = (args.folder / name for name in ("cache", "features", "run"))
    workers = [("--workers", args.workers, "--rank", rank) for rank in range(args.workers)]
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "fetched").exists():
        wait(start("fetch.py", cache))
        (args.folder / "fetched").touch()
    wait(*(start("features.py", cache, args.photos, features, *worker) for worker in workers))
    if not (features / "units.npz").exists():
        wait(start("units.py", cache, args.photos, features))
    folders = ("--folder", run, "--cache", cache, "--photos", args.photos, "--features", features)
    wait(*(start("train_photos.py", *folders, *worker, *training) for worker in workers))
    wait(start("export_photos.py", run, cache, args.folder / "hf"))


if __name__ == "__main__":
    main()
