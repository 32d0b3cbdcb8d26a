"""The whole job, as `bitat-tf train` and `bitat-tf binarize` run it: float network, binarization, export, verification, report.

| module | what it holds |
|---|---|
| `job` | `Job`: what all runs share, and `FloatSource`, what it asks of a float network's source |
| `train`, `config` | `TrainJob`: a ReActNet, built and trained; the settings |
| `binarize`, `binarize_config` | `BinarizeJob`: a trained network, loaded and converted; the settings |
| `loading`, `keras_file` | loading of files that may be anything, without running what is in them |
| `keras_objects` | what a `.keras` file may name |
| `model_format`, `pixels` | what a loaded model takes and gives; scaling of pixels inside of it |
| `kit_source` | the file and a picture of a run, for `kit` |
| `run_folder`, `folder_lock` | the files of a run, resuming and overwriting; one process at a time |
| `export`, `export_options` | a model in a file as a `.tflite` file; what the command is asked for |
| `experiments` | the experiments of the paper's appendix on data of one's own |
| `training` | training and evaluation on the images of a run, for jobs and experiments |
| `settings` | what the settings of all commands share |
| `html_report` | `report.html`, one file with everything |
| `opening`, `report`, `source_report`, `history`, `plots` | what a run says and writes |
"""

from typing import TYPE_CHECKING

from bitat_tf._lazy import lazy_attributes

if TYPE_CHECKING:  # for editors and type checkers, which do not run what follows
    from bitat_tf.importing import import_model
    from bitat_tf.workflow.binarize import BinarizeJob
    from bitat_tf.workflow.binarize_config import BinarizeConfig
    from bitat_tf.workflow.config import TrainConfig
    from bitat_tf.workflow.job import Job
    from bitat_tf.workflow.loading import load_model
    from bitat_tf.workflow.run_folder import RunFolder
    from bitat_tf.workflow.train import TrainJob

# The settings and the folder of a run are there without Keras: what is wrong with options is said at once.
__getattr__ = lazy_attributes(
    __name__,
    {
        "BinarizeConfig": f"{__name__}.binarize_config",
        "BinarizeJob": f"{__name__}.binarize",
        "ExportOptions": f"{__name__}.export_options",
        "Job": f"{__name__}.job",
        "RunFolder": f"{__name__}.run_folder",
        "TrainConfig": f"{__name__}.config",
        "TrainJob": f"{__name__}.train",
        "check_kind": f"{__name__}.keras_file",
        "export_file": f"{__name__}.export",
        "import_model": "bitat_tf.importing",
        "source_of_kit": f"{__name__}.kit_source",
        "load_model": f"{__name__}.loading",
        "verify_file": f"{__name__}.export",
    },
)

__all__ = ["BinarizeConfig", "BinarizeJob", "Job", "RunFolder", "TrainConfig", "TrainJob", "import_model", "load_model"]
