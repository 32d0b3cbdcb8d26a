"""Runs files one after the other in an interpreter with the delegate; started as a program by test_mutations.

    python mutation_driver.py LIBRARY FOLDER FIRST

It takes FOLDER/0.tflite, FOLDER/1.tflite, ... from the first number on, with each of the kernels in turn. To FOLDER/log it
writes "number start" before it reads a file, "number ran" when that has run, for every other file "number resized" when it
has run with other sizes as well, and "number refused: reason" when something was refused; "end" at last. So whoever started
it knows which file ended the process.
"""

import faulthandler
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

import bitat_runtime

SECONDS = 120  # that one file may take, with sanitizers on a busy machine


def run(content: bytes, library: str, number: int, log: Callable[[str], object]) -> None:
    """Run a file once with the sizes that it has and, every other one, once with other ones."""
    families = bitat_runtime.delegate(library=library).families
    options = {"kernel": families[number % len(families)], "num_threads": 1 + number % 3}
    delegate = bitat_runtime.delegate(library=library, **options)
    interpreter = tf.lite.Interpreter(model_content=content, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    invoke(interpreter, number)
    log("ran")
    details = interpreter.get_input_details()
    if number % 2 == 0 or not details or not len(details[0]["shape"]):
        return
    generator = np.random.default_rng(number)
    shape = [int(size) for size in details[0]["shape"]]
    shape[0 if number % 4 == 1 else generator.integers(len(shape))] = int(generator.integers(1, 9))
    interpreter.resize_tensor_input(details[0]["index"], shape)
    interpreter.allocate_tensors()
    invoke(interpreter, number)
    log("resized")


def invoke(interpreter: tf.lite.Interpreter, number: int) -> None:
    """Run an interpreter on random numbers, and look at all outputs."""
    generator = np.random.default_rng(number)
    for detail in interpreter.get_input_details():
        values = generator.integers(-100, 100, tuple(detail["shape"])).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    for detail in interpreter.get_output_details():
        interpreter.get_tensor(detail["index"])


def main() -> None:
    """Run the files of a folder."""
    library, folder, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    bitat_runtime.delegate(library=library)  # if it cannot be loaded, no file is to blame
    with open(folder / "log", "a", buffering=1) as log:
        for number in range(first, len(list(folder.glob("*.tflite")))):
            log.write(f"{number} start\n")
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            try:
                content = (folder / f"{number}.tflite").read_bytes()
                run(content, library, number, lambda text, number=number: log.write(f"{number} {text}\n"))
            except (RuntimeError, ValueError, OverflowError, MemoryError, TypeError, IndexError) as error:
                log.write(f"{number} refused: {' '.join(str(error).split())}\n")
        faulthandler.cancel_dump_traceback_later()
        log.write("end\n")


if __name__ == "__main__":
    main()
