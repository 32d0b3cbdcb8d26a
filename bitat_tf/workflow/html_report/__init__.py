"""`report.html` of a run: one file that needs nothing else, no network either.

| module | what it holds |
|---|---|
| `page` | the page: `html_report`, and the `Evidence` that it is made of |
| `figures` | its figures, as pictures inside of the page |
| `predictions` | confusions of classes, examples |
| `report.html.jinja` | the template |
"""

from bitat_tf.workflow.html_report.page import Evidence, html_report

__all__ = ["Evidence", "html_report"]
