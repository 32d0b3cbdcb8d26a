"""One case, in this process; the last line that it prints is what the case found, as JSON."""

import json
import sys

from benchmarks import growth
from benchmarks.cases import CASES, set_threads

if __name__ == "__main__":
    set_threads()
    case = growth.run if sys.argv[1] == "growth" else CASES[sys.argv[1]]
    sys.stdout.write("\n" + json.dumps(case("--tiny" in sys.argv)) + "\n")
