"""The whole job, as `bitat-tf train` and `bitat-tf binarize` run it: float network, binarization, export, verification, report.

| module | what it holds |
|---|---|
| `job` | `Job`: what all runs share, and `FloatSource`, what it asks of a float network's source |
| `train`, `config` | `TrainJob`: a ReActNet, built and trained; the settings |
| `binarize`, `binarize_config` | `BinarizeJob`: a trained network, loaded and converted; the settings |
| `load_model`, `keras_file` | loading of files that may be anything, without running what is in them |
| `keras_objects` | what a `.keras` file may name |
| `model_format`, `pixels` | what a loaded model takes and gives; scaling of pixels inside of it |
| `kit_source` | the file and a picture of a run, for `kit` |
| `run_folder` | the files of a run, resuming and overwriting |
| `experiments` | the experiments of the paper's appendix on data of one's own |
| `training` | training and evaluation on the images of a run, for jobs and experiments |
| `settings` | what the settings of all commands share |
| `html_report` | `report.html`, one file with everything |
| `opening`, `report`, `source_report`, `history`, `plots` | what a run says and writes |
"""

from bitat_tf.importing import import_model
from bitat_tf.workflow.binarize import BinarizeJob
from bitat_tf.workflow.binarize_config import BinarizeConfig
from bitat_tf.workflow.config import TrainConfig
from bitat_tf.workflow.job import Job
from bitat_tf.workflow.load_model import load_model
from bitat_tf.workflow.run_folder import RunFolder
from bitat_tf.workflow.train import TrainJob

__all__ = ["BinarizeConfig", "BinarizeJob", "Job", "RunFolder", "TrainConfig", "TrainJob", "import_model", "load_model"]
