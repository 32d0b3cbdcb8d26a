"""`docs/deployment_figures.md` from the results."""

from typing import Any

PARTS = ("files", "export", "times")

_HEAD = """# Sizes and times of exported files
Written by `python -m benchmarks.deployment`. Networks for pictures of {size}x{size}, with random weights, statistics,
thresholds, shifts and slopes. Each is written twice: by the direct export, which is what `to_tflite` does by default, and by
larq-compute-engine's own converter, from the same network (`to_tflite(converter="larq-compute-engine")`), "larq" below.

"ReActNet-A, pairs" is ReActNet-A as its authors built it, with two parallel 1x1 convolutions where the filters double;
`ReActNetA` has them in one. `MobileNetV1`, `MobileNetV2` and "Conv-BN-ReLU", which is 3x3 convolutions with the filters and
strides of MobileNetV1, are float networks after `binarize`.
"""

_FILES = """
## Files
Bytes, and the number of operators that compute value by value in float between and around the binary convolutions: shortcuts,
PReLUs, thresholds. "int8" is the direct export with an int8 rest that takes the bytes of a picture.

| network | `LceBconv2d` | float32 weights | direct | larq | direct / larq | int8 | element-wise: direct | larq |
|---|---|---|---|---|---|---|---|---|"""

_EXPORT = """
## Export
Each in a process of its own, medians of {repeats}: seconds of `import`; of the export without and with its verification on 8
pictures; of `convert_saved_model` on the same network, a plain one of TensorFlow's operators; and the largest memory of the
process, the loaded model and TensorFlow included, with what the conversion alone added to it in parentheses. Load before:
{load}.

| network | import: direct | larq | export: direct | larq | direct / larq | with verification | MiB: direct | larq |
|---|---|---|---|---|---|---|---|---|"""

_TIMES = """
## Times
Milliseconds for a picture in bitat-runtime with its kernels {kernel}, one thread: both files in turns in one process, medians
of {runs} runs, quartiles in parentheses. Load before: {load}.

| network | direct | larq | direct / larq |
|---|---|---|---|"""


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown.

    Args:
        results: What `benchmarks.deployment` measured, as it is in the JSON file; parts may be missing.
    """
    machine, networks = results["machine"], results["networks"]
    have = {part: {name: one[part] for name, one in networks.items() if part in one} for part in PARTS}
    lines = [_HEAD.format(size=results["size"])]
    lines.append(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}. {_listed(machine['versions'])}.")
    if have["files"]:
        lines += [_FILES, *(_file_row(name, one) for name, one in have["files"].items())]
    if have["export"]:
        repeats = min(one["repeats"] for one in have["export"].values())
        lines.append(_EXPORT.format(repeats=repeats, load=_loads(have["export"])))
        lines += [_export_row(name, one) for name, one in have["export"].items()]
    if have["times"]:
        first = next(iter(have["times"].values()))
        lines.append(_TIMES.format(kernel=first["kernel"], runs=first["runs"], load=_loads(have["times"])))
        lines += [_time_row(name, one) for name, one in have["times"].items()]
    missing = [part for part, found in have.items() if len(found) < len(networks)]
    if missing:
        lines += ["", f"Not measured yet for all networks: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _file_row(name: str, found: dict[str, Any]) -> str:
    sizes, counts, fused = found["bytes"], found["elementwise"], found["fused"]
    kernels = f"{fused['direct']} of {found['binary_layers']}"
    if fused["larq"] != fused["direct"]:
        kernels += f" (larq: {fused['larq']})"
    ratio = f"{sizes['direct'] / sizes['larq']:.3f}"
    numbers = (f"{sizes[key]:,}" for key in ("float32", "direct", "larq"))
    return _row(name, kernels, *numbers, ratio, f"{sizes['int8']:,}", counts["direct"], counts["larq"])


def _export_row(name: str, found: dict[str, Any]) -> str:
    direct, larq = found["direct"], found["larq"]
    imports = (f"{one['import_seconds']:.1f}" for one in (direct, larq))
    seconds = (f"{one['seconds']:.1f}" for one in (direct, larq))
    memory = (f"{one['peak_mib']:,.0f} ({one['added_mib']:,.0f})" for one in (direct, larq))
    ratio = f"{direct['seconds'] / larq['seconds']:.2f}"
    return _row(name, *imports, *seconds, ratio, f"{found['verified']['seconds']:.1f}", *memory)


def _time_row(name: str, found: dict[str, Any]) -> str:
    times = found["milliseconds"]
    shown = (f"{one['median']:.2f} ({one['lower']:.2f} - {one['upper']:.2f})" for one in (times["direct"], times["larq"]))
    return _row(name, *shown, f"{times['direct']['median'] / times['larq']['median']:.2f}")


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _loads(found: dict[str, Any]) -> str:
    loads = [one["load"] for one in found.values()]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
