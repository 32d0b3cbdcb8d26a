"""The page."""

from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from bitat_tf._printable import printable
from bitat_tf.callbacks import Timeline
from bitat_tf.data import ImageData
from bitat_tf.workflow.html_report.figures import draw, draw_confusion, draw_timeline
from bitat_tf.workflow.html_report.predictions import confusion_matrix, confusions, examples
from bitat_tf.workflow.plots import error_plot_width, plot_layer_errors
from bitat_tf.workflow.report import result_rows, shown_settings
from bitat_tf.workflow.source_report import describe_agreement, describe_input, describe_network, warnings_of

_MATRIX = 40  # classes from which on a matrix says nothing to the eye


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the page shows beside the values of `report.json`.

    Attributes:
        images: The pictures; the test pictures are shown.
        outputs: Outputs of the networks for the test pictures, shape (n, classes), by name: "float" and "binary".
        rows: Rows of `history.csv`.
        timeline: The phases of the binarization; None for one without training.
        steps_per_epoch: Training steps of an epoch.
    """

    images: ImageData
    outputs: dict[str, np.ndarray]
    rows: list[dict[str, Any]]
    timeline: Timeline | None
    steps_per_epoch: int


def _shown(value: Any) -> Any:
    """Return a value of the page, of which names may be anything, without what is no text."""
    return printable(value, lines=True) if type(value) is str else value


def html_report(report: dict[str, Any], evidence: Evidence) -> str:
    """Return `report.html`: text, tables, figures and pictures in one file that loads nothing.

    Args:
        report: What `report.json` holds.
        evidence: Everything else.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bitat_tf.workflow.html_report", ""),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names, labels = [printable(str(name)) for name in evidence.images.class_names], evidence.images.test_labels
    matrices = {
        name: confusion_matrix(labels, outputs.argmax(axis=-1), len(names)) for name, outputs in evidence.outputs.items()
    }
    layers = report["layers"]
    size = max(error_plot_width(layers), 9.0), 4.0
    return environment.get_template("report.html.jinja").render(
        report=report,
        export=report["export"],
        # Written for Markdown.
        network=describe_network(report).replace("`", ""),
        agreement=describe_agreement(report),
        file_input=describe_input(report).replace("`", ""),
        results=result_rows(report),
        warnings=warnings_of(report),
        timeline=draw_timeline(evidence.rows, evidence.timeline, evidence.steps_per_epoch) if report["curves"] else None,
        phases=evidence.timeline.rows(evidence.steps_per_epoch) if evidence.timeline else [],
        errors=draw(lambda axes: plot_layer_errors(axes, layers), size) if layers else None,
        confusion=draw_confusion(matrices["binary"], names) if len(names) <= _MATRIX else None,
        confusions=confusions(matrices["binary"], matrices["float"], names),
        examples=examples(
            evidence.images.test_images,
            labels,
            evidence.outputs,
            names,
            report["outputs"] == "logits",
            report["settings"]["seed"],
        ),
        settings={**shown_settings(report["settings"]), **report["export"]["versions"]},
    )
