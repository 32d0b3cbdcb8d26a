"""Networks from transfer learning, whose binary layers are let train: `inspection.adaptation` says which layers have to."""

import keras

from bitat_tf.inspection.adaptation import holds, layers_that_must_train
from bitat_tf.model_graph import CallGraph, is_graph, layers_inside, set_own_trainable


def unfreeze(model: keras.Model) -> None:
    """Let all layers of a model with binary layers train that must, and the models around them."""
    must_train = layers_that_must_train(CallGraph(model))
    for part in [model, *layers_inside(model)]:
        if part.trainable:
            continue
        if is_graph(part) and holds(part, must_train):
            set_own_trainable(part, True)
        elif id(part) in must_train:
            part.trainable = True
