"""What blurvote costs and what it buys, measured beside what a user would pick instead.

Each benchmark is a module that prints a table and writes JSON::

    python -m blurvote.benchmarks.latency.views --out bench-output
"""
