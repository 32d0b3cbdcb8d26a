"""Every example in a docstring runs, and every public object has one."""

import doctest
import importlib
import os
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

import bitat_tf

MODULES = sorted(module.name for module in pkgutil.walk_packages(bitat_tf.__path__, "bitat_tf."))
PUBLIC = [
    getattr(package, name)
    for package in (
        bitat_tf.analysis,
        bitat_tf.applications,
        bitat_tf.calibration,
        bitat_tf.callbacks,
        bitat_tf.conversion,
        bitat_tf.data,
        bitat_tf.dependency,
        bitat_tf.deployment,
        bitat_tf.export,
        bitat_tf.importing,
        bitat_tf.inspection,
        bitat_tf.kits,
        bitat_tf.layers,
        bitat_tf.post_training,
        bitat_tf.quantizers,
        bitat_tf.regularizers,
        bitat_tf.tflite_file,
    )
    for name in package.__all__
]


# Their examples build networks of full size, train for a while, or time files.
SLOW = ("bitat_tf.applications.", "bitat_tf.analysis.gap", "bitat_tf.analysis.flip_rates", "bitat_tf.deployment.benchmarking")


def marked(name):
    """Return the name of a module, marked as slow where its examples are."""
    return pytest.param(name, marks=pytest.mark.slow) if name.startswith(SLOW) else name


@pytest.mark.parametrize("name", map(marked, MODULES))
def test_examples(name, tmp_path):
    module = importlib.import_module(name)
    names = {"bitat_tf": bitat_tf, "keras": keras, "tf": tf, "np": np, "os": os, "folder": str(tmp_path)}
    globs = {**names, "Metric": bitat_tf.dependency.Metric, "Figure": Figure, **vars(module)}
    results = doctest.testmod(module, globs=globs, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


@pytest.mark.parametrize("thing", [thing for thing in PUBLIC if callable(thing)], ids=lambda thing: thing.__name__)
def test_public_objects_are_documented(thing):
    doc = thing.__doc__ or ""
    assert len(doc.splitlines()[0]) > 20
    if (
        isinstance(thing, type)
        and issubclass(thing, (keras.layers.Layer, keras.callbacks.Callback))
        and "State" not in thing.__name__
    ):
        assert ">>>" in doc or thing is bitat_tf.layers.BinaryLayer
