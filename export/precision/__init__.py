"""Guards of lower precision: fp16, and int8 with static Q/DQ.

A guard is first exported in fp32 and compared with its model (`export.parity`). Then only its
backbone is converted; the views and the vote stay as they are. What that cost is measured on
pictures that had no part in the conversion, printed, and kept in the guard's metadata.

- `convert`: the whole, from an fp32 guard to one of lower precision.
- `folding`, `half`, `quantise`, `weights`, `ranges`: the conversions.
- `samples`: pictures, their parts and their views; `search`: choices by measurement.
- `cost`, `noise`, `statistics`: what it cost.
"""

from blurvote.export.precision.options import PrecisionOptions

__all__ = ["PrecisionOptions"]
