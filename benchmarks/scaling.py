"""What a long run costs beside its training steps: `python -m benchmarks.scaling` writes `docs/scaling_figures.md`.

The stages of ReActNet-A on pictures of ImageNet's size, one by one; its backups; what backups take of the run on the digits.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import bitat_tf
from benchmarks.measure import measure
from bitat_tf.calibration import Calibration
from bitat_tf.callbacks import Backup, Schedule
from bitat_tf.callbacks.stages import Stages
from bitat_tf.deployment.machine import this_machine
from bitat_tf.layers import binary_layers
from bitat_tf.workflow import RunFolder, TrainConfig, TrainJob
from bitat_tf.workflow import training as training_module

DOCS = Path(__file__).parents[1] / "docs"


def pictures(count: int, side: int) -> np.ndarray:
    """Return smooth random pictures of pixels 0..255: neighbours resemble each other, as in photographs."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, side // 8, side // 8, 3)).astype(np.float32)
    return tf.image.resize(coarse, (side, side), "bicubic").numpy()


def stages(model: keras.Model, images: np.ndarray) -> list[dict[str, Any]]:
    """Return time and memory of every layer's statistics, in the order of the schedule."""
    steps = Stages(model, binary_layers(model), Calibration(images, model, "benchmark"), Schedule(), {}, seed=0)
    rows = []
    for layer in binary_layers(model):
        found = measure(lambda layer=layer: steps.quantize(layer))
        dim, units = layer.latent_kernel_matrix.shape
        rows.append({"layer": layer.name, "dim": dim, "units": units, **found})
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    return rows


def seconds_of(function: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a function, after one call that does not count."""
    function()
    return measure(function, repeats)["seconds"]


def backups(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return size and times of a backup of a model with its optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        backup = Timed(Path(folder) / "backup", delete_checkpoint=False, largest_share=1)
        model.fit(images, labels, epochs=2, batch_size=len(images), verbose=0, callbacks=[backup])
        files = [path.stat().st_size for path in Path(folder).rglob("epoch-000002*")]
        again = Timed(Path(folder) / "backup", delete_checkpoint=False, largest_share=1)
        model.fit(images, labels, epochs=2, batch_size=len(images), verbose=0, callbacks=[again])
    return {"mib": sum(files) / 2**20, "write_seconds": backup.seconds["write"] / 2, "read_seconds": again.seconds["read"]}


class Timed(Backup):
    """A `Backup` that measures itself."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.seconds = {"read": 0.0, "write": 0.0}

    def on_train_begin(self, logs=None):
        """Restore."""
        started = time.perf_counter()
        super().on_train_begin(logs)
        self.seconds["read"] += time.perf_counter() - started

    def on_epoch_end(self, epoch, logs=None):
        """Write."""
        started = time.perf_counter()
        super().on_epoch_end(epoch, logs)
        self.seconds["write"] += time.perf_counter() - started


def digits_run(tiny: bool) -> dict[str, float]:
    """Return the time of the run on the digits at the defaults of `bitat-tf train`, and what its backups took of it."""
    changes = {"epochs": 1, "epochs_per_layer": 0.5, "joint_epochs": 0.5, "blocks": 1, "width": 0.25} if tiny else {}
    timed: list[Timed] = []

    def recorded(*arguments: Any, **options: Any) -> Timed:
        timed.append(Timed(*arguments, **options))
        return timed[-1]

    original, training_module.Backup = training_module.Backup, recorded
    try:
        with tempfile.TemporaryDirectory() as out:
            config, folder = TrainConfig.for_data(**changes), RunFolder(out)
            job = TrainJob(config)
            folder.begin(config)
            started = time.perf_counter()
            job.run(folder)
            seconds = time.perf_counter() - started
    finally:
        training_module.Backup = original
    return {"seconds": seconds, "backup_seconds": sum(sum(one.seconds.values()) for one in timed)}


def run(tiny: bool, count: int) -> dict[str, Any]:
    """Return all results."""
    side, batch = (32, 4) if tiny else (224, 32)
    blocks = {"blocks": ((64, 1), (128, 2)), "width": 0.25} if tiny else {}
    digits = digits_run(tiny)
    keras.utils.set_random_seed(0)
    model = bitat_tf.applications.ReActNet((side, side, 3), 1000, **blocks)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = pictures(count, side), np.zeros(count, np.int64)
    few = tf.constant(images[:batch]), tf.constant(labels[:batch])
    return {
        "digits": digits,
        "network": "a toy ReActNet" if tiny else "ReActNet-A",
        "side": side,
        "images": count,
        "batch": batch,
        "forward_seconds": seconds_of(lambda: model.predict(images, batch_size=batch, verbose=0), 1),
        "step_seconds": seconds_of(lambda: model.train_on_batch(*few), 3),
        "backup": backups(model, images[:batch], labels[:batch]),
        "stages": stages(model, images),
        "step_seconds_binary": seconds_of(lambda: model.train_on_batch(*few), 3),
        "machine": asdict(this_machine()),
    }


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    rows, machine, backup, digits = (results[name] for name in ("stages", "machine", "backup", "digits"))
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    total = sum(row["seconds"] for row in rows)
    steps = total / results["step_seconds_binary"]
    lines = [
        "# What a long run costs beside its steps",
        f"Written by `python -m benchmarks.scaling --images {results['images']}`; [scaling.md](scaling.md) says what follows.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; {versions}.",
        "",
        f"{results['network']}, {len(rows)} binary layers, pictures of {results['side']}x{results['side']}; statistics from",
        f"{results['images']} pictures.",
        "",
        "| | |",
        "|---|---|",
        f"| training step of {results['batch']} pictures, float | {results['step_seconds']:.1f} s |",
        f"| training step of {results['batch']} pictures, all layers binary | {results['step_seconds_binary']:.1f} s |",
        f"| all pictures through the network once | {results['forward_seconds']:.1f} s |",
        f"| statistics of all {len(rows)} stages | {total:.0f} s, as {steps:.0f} training steps |",
        f"| backup: weights, statistics and Adam's moments | {backup['mib']:.0f} MiB |",
        f"| writing one | {backup['write_seconds']:.1f} s |",
        f"| checking and restoring one | {backup['read_seconds']:.1f} s |",
        f"| backups of the run on the digits | {digits['backup_seconds']:.1f} of {digits['seconds']:.0f} s, "
        f"{digits['backup_seconds'] / digits['seconds']:.1%} |",
        "",
        "## Stages",
        "Thresholds, moments, groups, s and V, re-targeted weights; memory is the peak above what was resident before.",
        "",
        "| layer | d | m | seconds | memory |",
        "|---|---|---|---|---|",
        *(
            f"| {row['layer']} | {row['dim']:,} | {row['units']:,} | {row['seconds']:.1f} | {row['peak_mib']:,.0f} MiB |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the options, run, write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=256, help="calibration pictures")
    parser.add_argument("--out", type=Path, help="folder of the page (default docs)")
    parser.add_argument("--digits-only", action="store_true", help="the run on the digits; the rest is that of the last run")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that everything runs")
    options = parser.parse_args()
    if options.tiny and not options.out:
        parser.error("--tiny needs --out: its figures do not belong into docs")
    out = options.out or DOCS
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "scaling_figures.json"
    if options.digits_only:
        results = {**json.loads(stored.read_text()), "digits": digits_run(options.tiny)}
    else:
        results = run(options.tiny, options.images)
    stored.write_text(json.dumps(results, indent=1) + "\n")
    (out / "scaling_figures.md").write_text(page(results))


if __name__ == "__main__":
    main()
