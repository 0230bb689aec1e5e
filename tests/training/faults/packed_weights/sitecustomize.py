"""On the PYTHONPATH of a run, brings back the fault that the CPU plugin mends: vLLM frees weights that verl then writes to."""

import deepicd.training.cpu.vllm_plugin as plugin

plugin.keep_linear_weights = lambda: None
