"""Makes everything in this folder; see README.md."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--convert", type=Path, help="the llava-convert binary; without it quantized outputs are left out")
parser.add_argument("--fresh", nargs=2, metavar=("SEED", "FOLDER"), help="a new random checkpoint instead of the goldens")
parser.add_argument("--compare", nargs=3, metavar=("EXPECTED", "RESULTS", "QUANT"), help="captions of a fresh checkpoint")
parser.add_argument("--only", choices=["pictures", "odd", "text", "checkpoints", "convolutional", "gguf"], help="make one part")
arguments = parser.parse_args()

if arguments.fresh:
    import checkpoints

    checkpoints.fresh(int(arguments.fresh[0]), Path(arguments.fresh[1]), arguments.convert)
    sys.exit()
if arguments.compare:
    import checkpoints

    expected, results, quantization = arguments.compare
    sys.exit(checkpoints.compare(Path(expected), Path(results), quantization) > 0)
if arguments.only in (None, "pictures"):
    import pictures

    pictures.make(ROOT)
if arguments.only in (None, "odd"):
    import odd

    odd.make(ROOT)
if arguments.only in (None, "text"):
    import text

    text.make(ROOT)
if arguments.only in (None, "checkpoints"):
    import checkpoints

    checkpoints.make(ROOT, arguments.convert)
if arguments.only in (None, "convolutional"):
    import convolutional

    convolutional.make(ROOT, arguments.convert)
if arguments.only in (None, "gguf"):
    import gguf_files

    gguf_files.make(ROOT)
