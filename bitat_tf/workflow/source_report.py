"""What `report.md` says of a network that was not trained by the run, but brought: the plan, the check, the warnings."""

from typing import Any

from bitat_tf.inspection.plan import FLOAT
from bitat_tf.workflow.pixels import PIXELS


def describe_network(report: dict[str, Any]) -> str:
    """Return one sentence on the network and on how it was made binary."""
    settings, source, layers = report["settings"], report["source"], report["export"]["expected_binary"]
    how = "without training" if settings["post_training"] else "layer by layer"
    if source["kind"] == "ReActNet":
        return f"ReActNet of {_count(layers, 'binary layer')}, width {settings['width']:g}, made binary {how}."
    epochs = settings["epochs"]
    fine_tuned = f", trained for {_count(epochs, 'more epoch')} in float" if epochs else ""
    return f"`{source['model']}`{fine_tuned}, made binary {how}: {_count(layers, 'binary layer')}."


def describe_input(report: dict[str, Any]) -> str:
    """Return one sentence on what the exported file takes and gives."""
    pixels = report["source"].get("pixels")
    inside = ""
    if pixels is not None and PIXELS[pixels] != PIXELS["0..255"]:
        inside = f" (the scaling to {pixels}, which the model was trained with, is inside of it)"
    return (
        f"Its input takes pixels from 0 to 255 as float32{inside}; its outputs are {report['outputs']} in the order of "
        "`labels.txt`. It runs in TensorFlow Lite and LiteRT with bitat-runtime."
    )


def describe_agreement(report: dict[str, Any]) -> str:
    """Return what the file has in common with the Keras model on the test images."""
    output = report["export"]["outputs"][0]
    samples, largest = output["samples"], output["largest_difference"]
    text = f"Top-1 of the file and of the Keras model agree on {output['agreement']:.2%} of {samples} test images. "
    different = round(output["share_different"] * samples)
    if not different:
        return f"{text}Their outputs differ by rounding alone, by {largest:#.2g} at most."
    return (
        f"{text}On {_count(different, 'image')} their outputs differ by more than rounding, by {largest:#.2g} at most, as "
        "where a value before a binary layer lies on the threshold of its sign, and rounding decides the bit."
    )


def warnings_of(report: dict[str, Any]) -> list[str]:
    """Return the warnings of a report: of the images and the schedule, and of a network that was brought."""
    return [*report["warnings"], *report.get("source", {}).get("warnings", [])]


def warning_lines(report: dict[str, Any]) -> list[str]:
    """Return the warnings as Markdown, which stand before everything else."""
    return [line for text in warnings_of(report) for line in (f"**Warning:** {text}", "")]


def plan_lines(report: dict[str, Any]) -> list[str]:
    """Return the section on what became binary, what stays float, and what the check says; nothing for a ReActNet."""
    source = report["source"]
    if "plan" not in source:
        return []
    binary = [layer for layer in source["plan"] if layer["action"] != FLOAT]
    kept = [layer for layer in source["plan"] if layer["action"] == FLOAT]
    lines = [
        "## What became binary",
        f"{_count(len(binary), 'layer')}: {', '.join(_with_details(layer) for layer in binary)}. {source['check']['summary']}.",
        "",
    ]
    if kept:
        lines += ["| stays float | kind | because | cure |", "|---|---|---|---|"]
        lines += [_row(layer["layer"], layer["kind"], layer["reason"], layer["cure"]) for layer in kept]
        lines.append("")
    findings = source["check"]["findings"]
    if findings:
        lines += ["| rule | severity | layer | on the device | cure |", "|---|---|---|---|---|"]
        for finding in findings:
            where = finding["layer"] or "the model"
            lines.append(_row(finding["rule"], finding["severity"], where, finding["effect"], finding["cure"]))
        lines.append("")
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _with_details(layer: dict[str, Any]) -> str:
    return f"{layer['layer']} (shortcut: {layer['shortcut']})" if layer["shortcut"] else layer["layer"]


def _row(*cells: Any) -> str:
    escaped = [str(cell).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
