"""The rows of the table of speeds, memory and parity that `benchmarks/engine.py` measures."""
