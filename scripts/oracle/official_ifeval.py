"""Loads the official IFEval checker (lm-eval 0.4.13) without the rest of its harness.

Needs a virtual environment made by setup-ifeval.sh, and NLTK_DATA pointing to its folder `nltk_data`.
"""

import importlib.metadata
import logging
import os
import sys
import types


def load():
    """The checker's module `utils`; its language detection is seeded."""
    if not os.path.isdir(os.path.join(os.environ.get("NLTK_DATA", ""), "tokenizers", "punkt_tab")):
        sys.exit("set NLTK_DATA to the folder nltk_data that setup-ifeval.sh made")
    home = os.path.dirname(str(importlib.metadata.distribution("lm-eval").locate_file("lm_eval/__init__.py")))
    # `lm_eval.tasks` imports every task; empty packages in its place leave the checker as it is.
    for name, folder in (("lm_eval", home), ("lm_eval.tasks", os.path.join(home, "tasks"))):
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package
    from lm_eval.tasks.ifeval import utils
    import langdetect

    langdetect.DetectorFactory.seed = 0
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)
    return utils
