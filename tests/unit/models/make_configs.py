"""Makes `transformers_configs.json`: how transformers itself writes the configuration of each tiny family.

Run by hand when a family is added, where transformers is installed:

    python -m tests.unit.models.make_configs

What is in the repository comes from transformers 5.19.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.models.make_families import MODELS, SHAPE, TOKENS

FILE = Path(__file__).parent / "transformers_configs.json"


def main() -> None:
    import transformers

    said = {name: json.loads(getattr(transformers, tiny.config)(
        **SHAPE | {"vocab_size": TOKENS} | tiny.more).to_json_string()) for name, tiny in MODELS.items()}
    FILE.write_text(json.dumps(said, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
