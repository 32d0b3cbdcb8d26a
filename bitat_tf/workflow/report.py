"""The report of a run: JSON for programs, Markdown for people, a table for the terminal."""

from typing import Any

import keras
import numpy as np
from rich.table import Table

from bitat_tf._printable import printable
from bitat_tf._tables import TextTable
from bitat_tf.dependency import quantization_errors
from bitat_tf.layers import binary_layers
from bitat_tf.workflow.source_report import describe_agreement, describe_input, describe_network, plan_lines, warning_lines


def layer_errors_of(model: keras.Model) -> list[dict[str, Any]]:
    """Return Q_orig, Q_ours and Q_rel of every binary layer, at the start of its stage (sign of w_ref) and now."""
    rows = []
    for layer in binary_layers(model):
        now = layer.quantization_errors()
        if now is None:
            continue
        reference = keras.ops.convert_to_numpy(layer.disentangled_state.reference)
        start = quantization_errors(reference, np.where(reference >= 0, 1.0, -1.0), layer.disentangled_state.metric)
        rows.append(
            {
                "layer": layer.name,
                "q_orig": now.q_orig,
                "q_ours": now.q_ours,
                "q_rel": now.q_rel,
                "q_orig_start": start.q_orig,
                "q_ours_start": start.q_ours,
                "q_rel_start": start.q_rel,
            }
        )
    return rows


def results_table(report: dict[str, Any]) -> Table:
    """Return the table that ends a run: accuracy, size and binary layers of the three networks."""
    table = TextTable(title=f"{report['data']}: {report['test_images']} test images, {report['classes']} classes")
    for column in ("network", "test accuracy", "size", "binary layers"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in result_rows(report):
        table.add_row(*row)
    return table


def result_rows(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the rows of the results table as text."""
    export = report["export"]
    weights = f"{export['float_size'] / 1024:,.0f} KiB"
    source = report["source"]
    came = [] if "accuracy" not in source or not report["settings"]["epochs"] else [source["accuracy"]]
    return [
        *(("float, as it came", f"{accuracy:.2%}", "", "0") for accuracy in came),
        ("float", f"{report['float_accuracy']:.2%}", f"{weights} of float32 weights", "0"),
        ("binary (Keras)", f"{report['binary_accuracy']:.2%}", weights + " of latent weights", str(export["expected_binary"])),
        (
            "model.tflite",
            f"{export['accuracy']:.2%}",
            f"{export['size'] / 1024:,.0f} KiB",
            f"{export['fused_binary']} of {export['expected_binary']} fused",
        ),
    ]


def markdown(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    export = report["export"]
    squares = f" ({report['squares']})" if report["squares"] else ""
    lines = [
        f"# Run on {report['data']}",
        "",
        *warning_lines(report),
        f"{report['train_images']} training, {report['validation_images']} validation and {report['test_images']} test "
        f"images of {'x'.join(map(str, report['image_shape']))}{squares}, {report['classes']} classes. "
        f"{describe_network(report)}",
        "",
        "| network | test accuracy | size | binary layers |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in result_rows(report)),
        "",
        describe_agreement(report),
        "",
        *([report["times"]["text"], ""] if "times" in report else []),
        *(["![accuracy](accuracy.png)", ""] if report["curves"] else []),
        "![error of every layer](q_ours.png)",
        "",
        *plan_lines(report),
        "## Layers",
        "Errors of the binary weights against the reference weights of their stage: sign of the reference, then in the end.",
        "",
        "| layer | Q_orig | Q_ours | Q_rel | final Q_rel |",
        "|---|---|---|---|---|",
        *(
            f"| {row['layer']} | {row['q_orig_start']:.3g} -> {row['q_orig']:.3g} | {row['q_ours_start']:.3g} -> "
            f"{row['q_ours']:.3g} | {row['q_rel_start']:.3f} | {row['q_rel']:.3f} |"
            for row in report["layers"]
        ),
        "",
        "## The file",
        f"`model.tflite`, {export['size']:,} bytes, sha256 `{export['sha256']}`. {describe_input(report)}",
        "",
        "| operator | number |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(export["operators"].items())),
        "",
        "## Settings and versions",
        *(f"- {name}: {value}" for name, value in {**shown_settings(report["settings"]), **export["versions"]}.items()),
        *([f"- skipped images: {', '.join(report['skipped_images'])}"] if report["skipped_images"] else []),
        f"- seconds: {', '.join(f'{name} {seconds:.0f}' for name, seconds in report['seconds'].items())}",
    ]
    return printable("\n".join(lines), lines=True) + "\n"


def shown_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as people read them."""
    return {name: ", ".join(value) or "none" if isinstance(value, list) else value for name, value in settings.items()}
