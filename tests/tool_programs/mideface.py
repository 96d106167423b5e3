"""mideface --i IN --o OUT --facemask MASK --odir DIR --fill-zero --threads N; all of them."""

import argparse
from pathlib import Path

import numpy as np
from stand_in import load, save, taken

parser = argparse.ArgumentParser(allow_abbrev=False)
for option in ("--i", "--o", "--facemask", "--odir"):
    parser.add_argument(option, required=True)
parser.add_argument("--fill-zero", action="store_true", required=True)
parser.add_argument("--threads", type=int, required=True)
options = parser.parse_args()
image = load(options.i)
face = taken(image)
save(np.where(face, 0, image.get_fdata()), image, options.o)
save(face, image, options.facemask, np.uint8)
Path(options.odir).mkdir()
(Path(options.odir) / "mideface.log").write_text("mideface-Run-Time-Sec 61\n")
