# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""RefCOCO, RefCOCO+, RefCOCOg, and COCO detection: boxes as text.

prompt   detect the woman in blue
answer   14 137 719 497 the woman in blue

Boxes are ymin xmin ymax xmax in thousandths of what the ViT sees (pali/boxes.py), and become pixels
of the whole picture again before they are scored. A number in an expression is left out of the
label. COCO's is named `coco_instances`: its prompt names all 80 classes, whereas that of
`coco_detection` (coco_objects.py) names a few.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.detection import detection

for name in ("refcoco", "refcoco_plus", "refcocog"):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[detection])
seqio.TaskRegistry.add(
    "coco_instances", **task_parts(*benchmark_parts("coco_detection")), metric_fns=[detection]
)
