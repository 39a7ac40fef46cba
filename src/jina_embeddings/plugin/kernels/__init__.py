"""Kernels for the steps that bound a pack, each held on the device to the PyTorch code it replaces."""
