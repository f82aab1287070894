"""What a plugin of studies needs of the core beside the public names of `labwright`: how trials are trained and shown.

Experimental: these names may change in any version, so that other plugins had better do without them.

A trial           `Trainer` takes the steps of a run, `PhaseStep` is one phase of a step, `Prepared` keeps tasks whose
                  data is read, `interruptions` hears signals;
                  `Status` is how a run ended.
A search space    `checked` validates a value for a setting; `resolve` makes a `ComponentSpec` of a name or a table;
                  `Where` is a place in a recipe, for messages; `parsed` reads a value as a recipe would, `NONE` is how
                  one that is left out is written.
Files             `write_text` and `write_json` write whole or not at all, `refuse_links` minds what leads out of a
                  folder, `Lock` keeps others out; `environment` says what a result may depend on, `differences` how
                  two of them differ.
A report          `page` has the pieces a page is put together from, `charts` their frame and colours; `duration` says
                  a stretch of time in words.
A notebook        `Shown` is what shows itself as a table, by its `sketch`; `brought` finds what another plugin brings.

It imports torch.
"""

from labwright.base.durations import duration
from labwright.base.elsewhere import Shown, brought
from labwright.base.files import refuse_links, write_json, write_text
from labwright.base.locks import Lock
from labwright.base.search import NONE
from labwright.config.recipe import parsed
from labwright.config.resolve import ComponentSpec, Where, checked, resolve
from labwright.interfaces.run import Status
from labwright.report import charts, page
from labwright.runs.environment import differences, environment
from labwright.runs.prepared import Prepared
from labwright.train.interruption import interruptions
from labwright.train.phase_step import PhaseStep
from labwright.train.trainer import Trainer

__all__ = [
    "NONE",
    "ComponentSpec",
    "Lock",
    "PhaseStep",
    "Prepared",
    "Shown",
    "Status",
    "Trainer",
    "Where",
    "brought",
    "charts",
    "checked",
    "differences",
    "duration",
    "environment",
    "interruptions",
    "page",
    "parsed",
    "refuse_links",
    "resolve",
    "write_json",
    "write_text",
]
