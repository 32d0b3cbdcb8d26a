"""In whatever order interpreters and delegates go, nothing is used after it was freed.

Every case runs in a process of its own, under glibc's checks of the heap: memory that is freed is overwritten, so that a
use of it crashes.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

PRELUDE = """
import gc, sys
import numpy as np
import bitat_runtime
from bitat_runtime._engines import find_engine

Interpreter = find_engine(None).interpreter
path, samples = sys.argv[1], np.load(sys.argv[2])

def make(*delegates):
    interpreter = Interpreter(model_path=path, experimental_delegates=list(delegates))
    interpreter.allocate_tensors()
    return interpreter

def run(interpreter):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples[:1])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
"""

CASES = {
    "the delegate's name goes first": """
delegate = bitat_runtime.delegate()
interpreter = make(delegate)
del delegate
gc.collect()
result = run(interpreter)
del interpreter
""",
    "the interpreter goes first": """
delegate = bitat_runtime.delegate()
interpreter = make(delegate)
result = run(interpreter)
del interpreter
gc.collect()
assert len(delegate.profile()) == 0, "its steps went with the interpreter"
del delegate
""",
    "one delegate, two interpreters": """
delegate = bitat_runtime.delegate(profile=True)
one, two = make(delegate), make(delegate)
result = run(one)
steps = len(delegate.profile())
assert np.array_equal(run(two), result)
del one
gc.collect()
assert np.array_equal(run(two), result)
assert len(delegate.profile()) == steps // 2
three = make(delegate)
del delegate, two
gc.collect()
assert np.array_equal(run(three), result)
""",
    "a delegate twice in one interpreter's list": """
delegate = bitat_runtime.delegate()
interpreter = make(delegate, delegate)
result = run(interpreter)
""",
    "both in a reference cycle": """
class Holder:
    pass

for first in (True, False):
    holder = Holder()
    if first:
        holder.delegate = bitat_runtime.delegate()
        holder.interpreter = make(holder.delegate)
    else:
        delegate = bitat_runtime.delegate()
        holder.interpreter = make(delegate)
        holder.delegate = delegate
        del delegate
    holder.delegate.back = holder.interpreter.back = holder
    result = run(holder.interpreter)
    del holder
    gc.collect()
""",
    "the list is emptied while the interpreter lives": """
delegates = [bitat_runtime.delegate()]
interpreter = Interpreter(model_path=path, experimental_delegates=delegates)
interpreter.allocate_tensors()
delegates.clear()
gc.collect()
result = run(interpreter)
del interpreter
""",
    "a view of a tensor outlives the interpreter": """
interpreter = make(bitat_runtime.delegate())
result = run(interpreter)
view = interpreter.tensor(interpreter.get_output_details()[0]["index"])()
del interpreter
gc.collect()
assert np.array_equal(view, result)
del view
""",
    "the end of the process finds them alive": """
interpreter = bitat_runtime.Interpreter(path, num_threads=2)
result = interpreter.predict(samples[:1])
""",
    "the end of the process finds threads and a cycle": """
interpreter = bitat_runtime.Interpreter(path, num_threads=2)
interpreter.itself = interpreter
result = interpreter.predict(samples[:1])
gc.disable()
del interpreter
""",
    "a failed interpreter leaves its delegate usable": """
delegate = bitat_runtime.delegate()
try:
    Interpreter(model_content=b"no model at all", experimental_delegates=[delegate])
except ValueError:
    pass
interpreter = make(delegate)
result = run(interpreter)
""",
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_used_after_it_was_freed(case, small_network, tmp_path):
    np.save(tmp_path / "samples.npy", small_network.samples[0])
    code = PRELUDE + CASES[case] + f"\nnp.save({str(tmp_path / 'result.npy')!r}, result)\n"
    checks = os.environ | {"MALLOC_PERTURB_": "165", "MALLOC_CHECK_": "3"}
    arguments = [str(small_network.path), str(tmp_path / "samples.npy")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=checks, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = small_network.outputs[0][:1]
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), expected, rtol=0, atol=2e-6 * np.abs(expected).max())
