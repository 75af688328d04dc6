"""What a GPU makes of a guard: parity with the CPU, time to a verdict, and the GPU's own ceilings.

`python -m blurvote.benchmarks.gpu views.onnx frames.onnx -o folder` in a few minutes, for machines
that are lent by the minute. `blurvote bench --provider cuda` measures the rest.
"""
