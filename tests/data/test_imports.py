from __future__ import annotations

import subprocess
import sys


def test_reading_rows_brings_in_neither_torch_nor_the_models_libraries() -> None:
    code = (
        "import sys, embertune.data.shapes, embertune.data.sources, embertune.data.split, embertune.data.audit\n"
        "from embertune.data.shapes import shape\n"
        "from embertune.data.sources import read\n"
        "shape(read([{'anchor': 'a', 'positive': 'b'}, {'anchor': 'c', 'positive': 'd'}]), 'train')\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
