"""`python -m trust [NAME ...]`: runs experiments and writes their results and pages to docs/trust/.

Without a name it runs all. `--render` writes the pages of the stored results once more.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from . import experiments, report


def main(arguments: Sequence[str] | None = None) -> int:
    known = experiments.NAMES
    parser = argparse.ArgumentParser(prog="python -m trust", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--render", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no experiment is called {', '.join(sorted(unknown))}: {', '.join(known)}")
    for name in options.names or known:
        experiment = experiments.load(name)
        if options.render:
            content = report.stored(name)
        else:
            print(f"{name}: {experiment.TITLE} ...", flush=True)
            content = {"machine": report.machine(), "result": experiment.measure()}
            report.folder().mkdir(parents=True, exist_ok=True)
            text = json.dumps(content, indent=1, allow_nan=False)
            report.path(name, "json").write_text(text + "\n", encoding="utf-8")
        report.write(name, experiment, content)
        print(f"{name}: written to {report.path(name, 'md')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
