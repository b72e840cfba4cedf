#!/bin/sh
# Makes a virtual environment with the official IFEval checker in the folder given (outside the repository).
# Usage: scripts/oracle/setup-ifeval.sh DIR; then
#   NLTK_DATA=DIR/nltk_data DIR/venv/bin/python scripts/oracle/ifeval.py --help
set -eu
dir=${1:?usage: setup-ifeval.sh DIR}
mkdir -p "$dir/nltk_data/tokenizers"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --no-deps lm-eval==0.4.13
# From 3.10.3 on NLTK counts words with another regular expression engine, to which combining marks are letters.
"$dir/venv/bin/pip" install -q nltk==3.10.2 langdetect==1.0.9 immutabledict packaging
# The sentence model lies in this wheel; its usual source is a download.
"$dir/venv/bin/pip" download -q --no-deps llama-index-core==0.14.25 -d "$dir/wheels"
"$dir/venv/bin/python" - "$dir" <<'PY'
import glob, os, sys, zipfile
folder = sys.argv[1]
prefix = "llama_index/core/_static/nltk_cache/"
with zipfile.ZipFile(glob.glob(os.path.join(folder, "wheels", "llama_index_core-*.whl"))[0]) as wheel:
    for name in wheel.namelist():
        if name.startswith(prefix + "tokenizers/punkt_tab/english/") and not name.endswith("/"):
            target = os.path.join(folder, "nltk_data", name[len(prefix):])
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as out:
                out.write(wheel.read(name))
PY
