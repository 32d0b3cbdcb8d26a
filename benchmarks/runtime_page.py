"""`docs/runtime_figures.md` from the results."""

from typing import Any

_MINE = "bitat-runtime, "


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown.

    Args:
        results: What `benchmarks.runtime` measured, as it is in the JSON file.
    """
    machine, versions = results["machine"], results["versions"]
    lines = [
        "# Figures of bitat-runtime",
        "",
        "Written by `python -m benchmarks.runtime`. Within a table all candidates ran in turns in one process, and every ratio",
        "is between medians of that run; quartiles show the spread. Weights are random. What it is: [runtime.md](runtime.md).",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, load before {machine['load']:.1f}. "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ".",
        "",
        "## Networks",
        "Milliseconds for a picture, and how many times as long that is as with the fastest kernels of bitat-runtime.",
        "The float twin has the same layers in float32; MobileNetV2 is a float network of another architecture.",
        "",
    ]
    for network in results["networks"]:
        lines += [*_network(network), ""]
    lines += [
        "## Fusion",
        f"{results['networks'][0]['network']}: median milliseconds with all fusions, without one, and with none, in turns.",
        "",
        "| fusion | 1 thread | 2 threads |",
        "|---|---|---|",
    ]
    one, two = results["fusion"]["1"], results["fusion"]["2"]
    lines += [f"| {name} | {one[name]['median']:.2f} | {two[name]['median']:.2f} |" for name in one]
    lines += ["", *_loading(results["loading"]), "", *_roofline(results), "", *_arm(results["arm"]), ""]
    return "\n".join(lines)


def _network(result: dict[str, Any]) -> list[str]:
    times = result["milliseconds"]
    fastest = min((name for name in times if name.startswith(_MINE)), key=lambda name: times[name]["median"])
    lines = [
        f"### {result['network']}, {result['threads']} thread{'s' if result['threads'] > 1 else ''}",
        "| candidate | median | quartiles | least | takes as long as the fastest, times |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(times.items(), key=lambda item: item[1]["median"]):
        ratio = row["median"] / times[fastest]["median"]
        shown = f"**{name}**" if name == fastest else name
        quartiles = f"{row['lower']:.2f} - {row['upper']:.2f}"
        lines.append(f"| {shown} | {row['median']:.2f} | {quartiles} | {row['least']:.2f} | {ratio:.2f} |")
    return lines


def _loading(loading: dict[str, Any]) -> list[str]:
    return [
        "## Loading",
        "From the file on the disk to the first result, and the memory at its peak above what the imported package takes; one",
        "thread, each engine in processes of its own, the median of five. TensorFlow Lite has the float twin.",
        "",
        "| engine | first result | memory |",
        "|---|---|---|",
        *(f"| {name} | {1000 * row['first_seconds']:.0f} ms | {row['peak_mib']:.0f} MiB |" for name, row in loading.items()),
    ]


def _roofline(results: dict[str, Any]) -> list[str]:
    peaks, steps = results["peaks"], results["steps"]
    lines = ["## Where the time goes", f"{results['networks'][0]['network']}, one thread, each step of the delegate."]
    if peaks:
        copies = ", ".join(f"{float(rate) / 1e9:.0f} GB/s at {int(size):,} KiB" for size, rate in peaks["copy"].items())
        lines.append(f"Copying memory (bytes read and written): {copies}.")
    if peaks.get("counting"):
        lines += [
            f"Counting bits in registers alone (xor, `vpopcntd`, add): {peaks['counting'] / 1e9:,.0f} G binary",
            "multiply-accumulates per second: the roof of the last column.",
        ]
    lines += ["", "| step | ms | G MAC/s | of the roof |", "|---|---|---|---|"]
    for step in steps:
        rate = step["macs"] / step["milliseconds"] / 1e6 if step["milliseconds"] else 0.0
        roof = f"{1e9 * rate / peaks['counting']:.0%}" if peaks.get("counting") and rate else ""
        lines.append(f"| {step['name']} | {step['milliseconds']:.3f} | {rate:,.0f} | {roof} |")
    total = sum(step["milliseconds"] for step in steps)
    macs = sum(step["macs"] for step in steps)
    lines.append(f"| all | {total:.2f} | {macs / total / 1e6:,.0f} | |")
    return lines


def _arm(counted: dict[str, int]) -> list[str]:
    if not counted:
        return ["## ARM", "Not counted: there was no emulator."]
    return [
        "## ARM",
        "Instructions of a 3x3 convolution of 128 to 64 channels at 16 pixels, with a shortcut and a PReLU, counted in an",
        f"emulator (qemu): {counted['portable']:,} with the portable kernels, {counted['neon']:,} with NEON, "
        f"{counted['portable'] / counted['neon']:.1f} times fewer. Times on ARM were not measured.",
    ]
